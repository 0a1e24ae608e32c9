// A small integer for each value and a power-of-two scale for each block: the compressors int8 and
// int4. Scales are a byte each and go first.
#pragma once

#include <string_view>

#include "common/compression/compressor.h"
#include "common/math/codecs.h"

namespace sheaf::compression {

// With s the scale of x's block, C(x) = s round(x / s), to nearest, ties to even, or at random:
// s floor(x / s + u) with u uniform, whose mean is x (stochastic rounding; QSGD, Alistarh et al.,
// NeurIPS 2017, has it with other scales). The error is at most s / 2, or has a variance of at most
// s^2 / 4.
class BlockCodes final : public Compressor {
 public:
  // `name` is that of a mode; it outlives the object. bits: 8 or 4.
  BlockCodes(std::string_view name, unsigned bits, const config::Section& section);

  Promises promises(std::size_t elements) const override;
  std::size_t max_bytes(std::size_t elements) const override;
  std::size_t encode(std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes) const override;
  void decode_add(std::span<const std::byte> bytes, const EncodingKey& key,
                  std::span<float> sum) const override;

 private:
  std::size_t scales(std::size_t elements) const {
    return (elements + blocks_.block - 1) / blocks_.block;
  }

  std::string_view name_;
  math::CodeBlocks blocks_;
  bool random_ = false;
};

// The contraction of codes that are rounded to nearest in blocks of so many values.
double contraction_of_codes(unsigned bits, std::size_t block);

// Reads `key`, a power of two within the bounds; anything else is a fault.
std::size_t read_block(const config::Section& section, std::size_t otherwise, std::size_t least,
                       std::size_t most);

}  // namespace sheaf::compression
