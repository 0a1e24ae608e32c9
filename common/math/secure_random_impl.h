// The part of kernels_impl.h behind secure_random.h: ChaCha20 on as many blocks at once as a
// register has words, and normal deviates. Same rules as there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/math/normal_pair.h"

namespace sheaf::math {
namespace {

#if defined(__AVX512F__)
constexpr std::size_t kRegisterBytes = 64;
#elif defined(__AVX2__)
constexpr std::size_t kRegisterBytes = 32;
#else
constexpr std::size_t kRegisterBytes = 16;
#endif
constexpr std::size_t kSideBySide = kRegisterBytes / 4;  // blocks

using WideWords = std::uint32_t __attribute__((vector_size(kRegisterBytes)));
using WideBytes = std::uint8_t __attribute__((vector_size(kRegisterBytes)));

// By whole bytes it is one shuffle, where there is no instruction for it.
template <unsigned bits>
inline WideWords rotate_left(WideWords x) {
#if !defined(__AVX512F__)
  if constexpr (bits % 8 == 0) {
    WideBytes from{};
    for (std::size_t i = 0; i < kRegisterBytes; ++i) {
      from[i] = static_cast<std::uint8_t>(i / 4 * 4 + (i % 4 + 4 - bits / 8) % 4);
    }
    return WideWords(__builtin_shuffle(WideBytes(x), from));
  }
#endif
  return (x << bits) | (x >> (32 - bits));
}

inline void quarter_round(WideWords& a, WideWords& b, WideWords& c, WideWords& d) {
  a += b;
  d = rotate_left<16>(d ^ a);
  c += d;
  b = rotate_left<12>(b ^ c);
  a += b;
  d = rotate_left<8>(d ^ a);
  c += d;
  b = rotate_left<7>(b ^ c);
}

void chacha20(const std::uint32_t* key, const std::uint32_t* nonce, std::uint32_t first,
              std::uint32_t* words) {
  WideWords start[16];
  const WideWords zero{};
  constexpr std::uint32_t kText[4] = {0x61707865, 0x3320646E, 0x79622D32, 0x6B206574};
  for (std::size_t j = 0; j < 4; ++j) start[j] = zero + kText[j];
  for (std::size_t j = 0; j < 8; ++j) start[4 + j] = zero + key[j];
  for (std::size_t j = 0; j < 3; ++j) start[13 + j] = zero + nonce[j];
  for (std::size_t side = 0; side < 16; side += kSideBySide) {
    WideWords number{};
    for (std::size_t i = 0; i < kSideBySide; ++i) {
      number[i] = first + static_cast<std::uint32_t>(side + i);
    }
    start[12] = number;
    WideWords x[16];
    for (std::size_t j = 0; j < 16; ++j) x[j] = start[j];
    for (int round = 0; round < 10; ++round) {
      quarter_round(x[0], x[4], x[8], x[12]);
      quarter_round(x[1], x[5], x[9], x[13]);
      quarter_round(x[2], x[6], x[10], x[14]);
      quarter_round(x[3], x[7], x[11], x[15]);
      quarter_round(x[0], x[5], x[10], x[15]);
      quarter_round(x[1], x[6], x[11], x[12]);
      quarter_round(x[2], x[7], x[8], x[13]);
      quarter_round(x[3], x[4], x[9], x[14]);
    }
    for (std::size_t j = 0; j < 16; ++j) {
      x[j] += start[j];
      __builtin_memcpy(words + 16 * j + side, &x[j], sizeof x[j]);
    }
  }
}

bool normals(const std::uint32_t* __restrict words, float* __restrict normals, std::size_t n) {
  const std::size_t half = n / 2;
  std::uint32_t rare = 0;
  for (std::size_t i = 0; i < half; ++i) {
    const std::uint32_t a = words[i], b = words[half + i];
    const float radius = radius_of(a, b);
    const Direction2 direction = direction_of(b);
    normals[i] = radius * direction.cosine;
    normals[half + i] = radius * direction.sine;
    rare |= static_cast<std::uint32_t>(a < 256U);
  }
  return rare != 0;
}

}  // namespace
}  // namespace sheaf::math
