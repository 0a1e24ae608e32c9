// The part of codecs_impl.h that rounds at random: 32 values at a time, whose bits are made on the
// way. Same rules as there.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "common/math/block_code.h"
#include "common/math/secure_random_impl.h"

namespace sheaf::math {
namespace {

constexpr std::size_t kGroup = 2 * kWordsOfGroup;  // values
using WideInts = std::int32_t __attribute__((vector_size(kRegisterBytes)));
using WideFloats = float __attribute__((vector_size(kRegisterBytes)));
using Code = signed char __attribute__((may_alias));

#if defined(__AVX512F__)
inline WideFloats clamped(WideFloats x, WideFloats most) {
  const __m512 above = _mm512_maskz_max_ps(0xFFFF, __m512(x), __m512(-most));
  return WideFloats(_mm512_maskz_min_ps(0xFFFF, above, __m512(most)));
}
inline void store_codes(const WideInts* q, Code* y) {
  for (std::size_t i = 0; i < 2; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + 16 * i),
                     _mm512_maskz_cvtepi32_epi8(0xFFFF, __m512i(q[i])));
  }
}
#elif defined(__AVX2__)
inline WideFloats clamped(WideFloats x, WideFloats most) {
  return WideFloats(_mm256_min_ps(_mm256_max_ps(__m256(x), __m256(-most)), __m256(most)));
}
inline void store_codes(const WideInts* q, Code* y) {
  const __m256i low = _mm256_packs_epi32(__m256i(q[0]), __m256i(q[1]));
  const __m256i high = _mm256_packs_epi32(__m256i(q[2]), __m256i(q[3]));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packed half by half
  const __m256i codes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), codes);
}
#else
inline WideFloats clamped(WideFloats x, WideFloats most) {
  return WideFloats(_mm_min_ps(_mm_max_ps(__m128(x), __m128(-most)), __m128(most)));
}
inline void store_codes(const WideInts* q, Code* y) {
  for (std::size_t i = 0; i < 2; ++i) {
    const __m128i low = _mm_packs_epi32(__m128i(q[4 * i]), __m128i(q[4 * i + 1]));
    const __m128i high = _mm_packs_epi32(__m128i(q[4 * i + 2]), __m128i(q[4 * i + 3]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + 16 * i), _mm_packs_epi16(low, high));
  }
}
#endif

// random_word() of block_code.h, of numbers that follow each other.
inline WideWords random_words_at(const RoundingKey& key, std::uint32_t first) {
  WideWords x{};
  for (std::size_t j = 0; j < kSideBySide; ++j) x[j] = static_cast<std::uint32_t>(j);
  x += first + key.before;
  x ^= x >> 16;
  x *= kHashFirst;
  x ^= x >> 15;
  x += key.between;
  x *= kHashSecond;
  return x ^ x >> 16;
}

// random_code() of block_code.h.
inline WideInts random_codes(const float* x, float inverse, float largest, WideInts random) {
  const WideFloats zero{};
  WideFloats value;
  __builtin_memcpy(&value, x, sizeof value);
  const WideFloats steps = clamped(value * inverse, zero + largest) * kStepsOfCode + kToInteger;
  return (WideInts(steps) - __builtin_bit_cast(std::int32_t, kToInteger) + random) >> kStepBits;
}

// Group `group` of a chunk, which x begins with: each half of it has a scale.
inline void code_group(const float* x, const RoundingKey& key, std::size_t group,
                       const float (&inverse)[2], float largest, Code* y) {
  constexpr std::size_t kHalf = kWordsOfGroup / kSideBySide;
  WideInts codes[2 * kHalf];
  for (std::size_t i = 0; i < kHalf; ++i) {
    const std::size_t at = i * kSideBySide;
    const WideWords words =
        random_words_at(key, static_cast<std::uint32_t>(kWordsOfGroup * group + at));
    codes[i] = random_codes(x + at, inverse[0], largest, WideInts(words << 16 >> 17));
    codes[kHalf + i] =
        random_codes(x + kWordsOfGroup + at, inverse[1], largest, WideInts(words >> 17));
  }
  store_codes(codes, y);
}

}  // namespace
}  // namespace sheaf::math
