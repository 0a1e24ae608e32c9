// Ascending positions, written as the gaps between them: how many are left out before each. Either
// every gap takes the bits of the largest, or Rice's code (1979) with parameter r: gap >> r ones, a
// zero, r low bits, which is within 0.1 bits of the entropy where positions are drawn at random.
// Not thread-safe; a reader refuses what makes no sense and never leaves its bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "common/compression/bit_stream.h"

namespace sheaf::compression {

struct GapCode {
  bool rice = true;
  unsigned width = 0;  // the parameter, or the bits of a gap

  // As one byte of the wire.
  std::byte byte() const { return static_cast<std::byte>(width | (rice ? 0 : kFixed)); }
  // Nothing if no code is written so.
  static std::optional<GapCode> from(std::byte byte);

  static constexpr unsigned kFixed = 0x80;
  static constexpr unsigned kMostWidth = 31;
};

// The most bits that choose() needs for up to `count` positions of `elements`, with statistics for
// just these two numbers.
std::size_t most_gap_bits(std::size_t count, std::size_t elements);

// What is to be known of all gaps before the first one is written.
class GapStatistics {
 public:
  // Of at most `count` positions of `elements`.
  GapStatistics(std::size_t count, std::size_t elements);
  void add(std::uint32_t gap) {
    ++count_;
    bits_ |= gap;
    for (std::size_t i = 0; i < kTried; ++i) ones_[i] += gap >> (least_ + i);
  }
  std::size_t count() const { return count_; }
  // The code with the fewest bits.
  GapCode choose() const;

 private:
  static constexpr std::size_t kTried = 3;  // parameters, from least_ on
  unsigned least_;
  std::size_t count_ = 0;
  std::uint32_t bits_ = 0;  // all that are set in any
  std::array<std::uint64_t, kTried> ones_{};
};

class GapWriter {
 public:
  GapWriter(GapCode code, std::byte* to) : code_(code), bits_(to) {}
  void put(std::uint32_t gap) {
    if (code_.rice) {
      bits_.put_ones(gap >> code_.width);
      bits_.put(0, 1);
      gap &= (std::uint32_t{1} << code_.width) - 1;
    }
    bits_.put(gap, code_.width);
  }
  std::size_t finish() { return bits_.finish(); }

 private:
  GapCode code_;
  BitWriter bits_;
};

class PositionReader {
 public:
  PositionReader(GapCode code, std::span<const std::byte> bytes, std::size_t elements)
      : code_(code), bits_(bytes), elements_(elements) {}
  // The next position; nothing if the bytes end before it, or it is not below `elements`.
  std::optional<std::size_t> next();
  bool at_end() const { return bits_.at_end(); }

 private:
  GapCode code_;
  BitReader bits_;
  std::size_t elements_;
  std::size_t from_ = 0;  // where the next gap begins
};

}  // namespace sheaf::compression
