// Random bits that nobody can guess and normal deviates made of them, written once and compiled for
// several instruction sets, all of which give the same bits (see kernels.h). Knows no secrets and
// keeps none: the key is an argument. Thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sheaf::math {

using ChachaKey = std::array<std::uint32_t, 8>;  // the words of RFC 8439, little-endian
using ChachaNonce = std::array<std::uint32_t, 3>;

inline constexpr std::size_t kChachaBlocks = 16;                 // made at once
inline constexpr std::size_t kChachaWords = 16 * kChachaBlocks;  // theirs

// ChaCha20 (RFC 8439, section 2.3). words[16 j + i] = word j of block first + i: by word, not by
// block, as the blocks are computed side by side.
void chacha20(const ChachaKey& key, const ChachaNonce& nonce, std::uint32_t first,
              std::span<std::uint32_t, kChachaWords> words);

// Standard normal deviates from uniform words, by the transformation of Box and Muller (1958). The
// words a = words[i] and b = words[n/2 + i] give
//
//   normals[i] = sqrt(-2 log u) cos(2 pi v),   normals[n/2 + i] = sqrt(-2 log u) sin(2 pi v)
//
// with v + 1/8 of the upper 24 bits of b and u of the 40 others, each in the middle of its cell;
// within 4 ulp of the exact value. True if there is an a < 2^8: its pair is right, but u, below
// 2^-24, has only 16 digits or fewer left, and no deviate beyond 7.6 could come of it: replace it
// by normal_tail. REQUIRES: n is even, both spans have n elements.
bool normals(std::span<const std::uint32_t> words, std::span<float> normals);

// The pair for u in (0, 2^-24), of 64 more random bits, and the same v: up to 11.1 deviations.
struct NormalPair {
  float cosine, sine;
};
NormalPair normal_tail(std::uint32_t b, std::uint64_t more);

}  // namespace sheaf::math
