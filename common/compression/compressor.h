// A compressor turns a chunk of floats into bytes, and adds such bytes to a chunk of floats. The
// bytes are those of FORMAT.md. Below, C(x) is what decoding the encoding of x gives.
// Const and thread-safe; what it needs from step to step (residuals) lives with the partition.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "common/base/ids.h"
#include "common/base/mode.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::compression {

struct Factors;

// The partition of a version's encoding: it belongs to all of them.
inline constexpr std::uint32_t kEveryPartition = 0xFFFFFFFF;

// Names the randomness of one encoding: the same key encodes the same values to the same bytes.
// Both ends know it, so what is drawn from it need not be sent.
struct EncodingKey {
  std::uint64_t seed = 0;  // of the run; never a secret of privacy
  Step step = 0;           // or version
  std::uint32_t partition = 0;
  std::uint32_t chunk = 0;
};

// What holds for every x of finite floats. tests/conformance holds each mode to its word.
struct Promises {
  // E C(x) = x over keys, up to 2^-16 of what one step of the code is worth.
  bool unbiased = false;
  // E ||x - C(x)||^2 <= (1 - contraction) ||x||^2, of normal floats; 0: no such promise.
  double contraction = 0;
  // x - C(x) is a float, value by value, and no larger than x (where that is below 2^29): what was
  // sent and what was kept add up to what there was, bit for bit.
  bool exact_residual = false;
  // Every value comes near itself. Without it a single encoding stands for gradients only, whose
  // errors cancel over steps; parameters would be lost.
  bool every_value = false;
};

// How a compressor wants gradients to pile up before it: see momentum_feedback.h.
struct Momentum {
  double factor = 0;     // m, of what is kept of the velocity
  double clip_norm = 0;  // of a gradient before that, over all partitions together; 0: none
};

class Compressor {
 public:
  using Make = std::unique_ptr<Compressor>(const config::Section& section);

  virtual ~Compressor() = default;

  // True if the bytes are the floats themselves: then encode and decode are skipped, the tensor
  // goes to the wire from where it lies, and a worker may pre-sum partitions.
  virtual bool identity() const { return false; }

  // Only of gradients that pile up so; nothing: of anything.
  virtual std::optional<Momentum> momentum() const { return std::nullopt; }

  // Of the factors that it makes of a chunk, over all partitions in two rounds of a step; 0: it
  // makes none. Of a job, which chunks those are: see factors.h; null: none.
  virtual std::uint32_t rank() const { return 0; }
  virtual const Factors* factors() const { return nullptr; }

  // Of chunks of so many values.
  virtual Promises promises(std::size_t elements) const = 0;

  // The most bytes that `elements` values may take; bounds what a receiver reads.
  virtual std::size_t max_bytes(std::size_t elements) const = 0;

  // Writes the encoding of `values` and returns its length. Throws Fault::diverged if a value is
  // not finite (the identity does not look).
  // REQUIRES: bytes.size() >= max_bytes(values.size()).
  virtual std::size_t encode(std::span<const float> values, const EncodingKey& key,
                             std::span<std::byte> bytes) const = 0;

  // sum += C(values), of bytes that were encoded under this key. Refuses malformed bytes with
  // Fault::network; then `sum` is as it was. If the bytes change meanwhile (they may lie in memory
  // of another process) the sum is anybody's guess, and nothing else.
  virtual void decode_add(std::span<const std::byte> bytes, const EncodingKey& key,
                          std::span<float> sum) const = 0;
};

ModeTable<Compressor> compressors();

}  // namespace sheaf::compression
