// Which values are the largest: exact, by radix selection on the bits of their magnitudes, which
// order as integers. Thread-safe; nothing is allocated or moved.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "common/math/codecs.h"

namespace sheaf::compression {

// Everything above a magnitude, and the first `ties` of those that have it.
struct Cut {
  std::uint32_t magnitude = 1;  // bits of a float; at least 1: zeros are never selected
  std::size_t ties = std::numeric_limits<std::size_t>::max();
};

// The cut that leaves `count` of x, or all that are not zero if those are fewer. NaN is above all
// numbers. REQUIRES: count >= 1.
Cut cut_of_largest(std::span<const float> x, std::size_t count);

inline std::uint32_t magnitude_bits(float x) {
  return std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU;
}

// Calls body(i) for each i whose magnitude is at least `lowest`, ascending.
template <typename Body>
void each_large(std::span<const float> x, std::uint32_t lowest, Body body) {
  constexpr std::size_t kTile = 2048, kWord = 64;
  std::array<std::uint64_t, kTile / kWord> words;
  for (std::size_t at = 0; at < x.size(); at += kTile) {
    const auto tile = x.subspan(at, std::min(kTile, x.size() - at));
    const std::size_t used = (tile.size() + kWord - 1) / kWord;
    math::mark_large(tile, lowest, std::span(words).first(used));
    for (std::size_t w = 0; w < used; ++w) {
      for (std::uint64_t word = words[w]; word != 0; word &= word - 1) {
        body(at + w * kWord + static_cast<std::size_t>(std::countr_zero(word)));
      }
    }
  }
}

// Calls body(i) for each i that the cut leaves, ascending.
template <typename Body>
void each_selected(std::span<const float> x, const Cut& cut, Body body) {
  std::size_t ties = cut.ties;
  each_large(x, cut.magnitude, [&](std::size_t i) {
    if (magnitude_bits(x[i]) == cut.magnitude) {
      if (ties == 0) return;
      --ties;
    }
    body(i);
  });
}

}  // namespace sheaf::compression
