// The values of sparse compressors, one after the other, in 32, 16, 8, 4 or 2 bits each. 32:
// floats. 16, 8, 4: the integers of block_codes.h with a scale for each 64 of them, scales first.
// 2: sign and size, s or 2 s, of values that are not zero: s, in the place of the scale, is the
// power of two at or below the smallest of its 64.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "common/compression/compressor.h"

namespace sheaf::compression {

class PackedValues {
 public:
  static constexpr std::size_t kBlock = 64;
  using Block = std::array<float, kBlock>;

  explicit PackedValues(unsigned bits) : bits_(bits) {}

  unsigned bits() const { return bits_; }
  std::size_t bytes(std::size_t count) const {
    return scale_bytes(count) + (count * bits_ + 7) / 8;
  }
  // Of the error of `count` values that are kept.
  double contraction() const;
  bool exact_residual() const { return bits_ != 2; }

  // Writes values [at, at + block.size()) of `count`; false if one is not finite. `block` is whole,
  // or the last one. REQUIRES: to.size() == bytes(count).
  bool encode(std::span<const float> block, std::size_t at, std::size_t count,
              std::span<std::byte> to) const;
  // Refuses what encode() does not write, in the name of a compressor.
  void expect_sound(std::string_view compressor, std::span<const std::byte> from,
                    std::size_t count) const;
  // Reads values [at, min(at + kBlock, count)). REQUIRES: from.size() == bytes(count).
  void decode(std::span<const std::byte> from, std::size_t at, std::size_t count,
              Block& block) const;

 private:
  std::size_t scale_bytes(std::size_t count) const {
    return bits_ == 32 ? 0 : (count + kBlock - 1) / kBlock;
  }

  unsigned bits_;
};

// Reads the key `values` of a sparse compressor: 32, 16, 8 or 4 bits, or 2 where they are allowed.
PackedValues read_values(const config::Section& section, bool two_bits);

// Reads the key `ratio`: the share of a chunk that is sent.
double read_ratio(const config::Section& section);

// How many of so many values that is: at least one.
std::size_t share_of(double ratio, std::size_t elements);

}  // namespace sheaf::compression
