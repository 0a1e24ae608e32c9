// A compressor turns a chunk of floats into bytes, and adds such bytes to a chunk of floats.
// Const and thread-safe; what it needs from step to step (residuals) lives with the partition.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "common/base/ids.h"
#include "common/base/mode.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::compression {

// Names the randomness of one encoding: the same key encodes the same values to the same bytes.
struct EncodingKey {
  std::uint64_t seed = 0;
  Step step = 0;
  std::uint32_t partition = 0;
  std::uint32_t chunk = 0;
};

class Compressor {
 public:
  using Make = std::unique_ptr<Compressor>(const config::Section& section);

  virtual ~Compressor() = default;

  // True if the bytes are the floats themselves: then encode and decode are skipped, the tensor
  // goes to the wire from where it lies, and a worker may pre-sum partitions.
  virtual bool identity() const = 0;

  // The most bytes that `elements` values may take; bounds what a receiver reads.
  virtual std::size_t max_bytes(std::size_t elements) const = 0;

  // Writes the encoding of `values` and returns its length.
  // REQUIRES: bytes.size() >= max_bytes(values.size()).
  virtual std::size_t encode(std::span<const float> values, const EncodingKey& key,
                             std::span<std::byte> bytes) const = 0;

  // sum += decode(bytes). Refuses malformed bytes with Fault::network and leaves `sum` undefined.
  virtual void decode_add(std::span<const std::byte> bytes, std::span<float> sum) const = 0;
};

ModeTable<Compressor> compressors();

}  // namespace sheaf::compression
