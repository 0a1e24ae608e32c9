// The loops behind codecs.h, under the rules of kernels_impl.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "common/math/block_code.h"
#include "common/math/codec_set.h"
#include "common/math/kernels_impl.h"
#include "common/math/random_codes_impl.h"

namespace sheaf::math {
namespace {

// Named wherever they are used: `auto` would forget the attributes.
using RawHalf = std::uint16_t __attribute__((aligned(1), may_alias));
using RawFloat = float __attribute__((aligned(1), may_alias));
using RawCode = signed char __attribute__((may_alias));

inline std::uint32_t bits_of(float x) { return __builtin_bit_cast(std::uint32_t, x); }
inline float float_of(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }
inline std::uint32_t magnitude_of(float x) { return bits_of(x) & 0x7FFFFFFFU; }
inline std::uint32_t smaller(std::uint32_t a, std::uint32_t b) { return a < b ? a : b; }

// ---- 16 bits

struct Half {
  static constexpr std::uint32_t kInfinite = 0x7C00;  // the bits of the exponent

  static std::uint32_t encode(float x) {
    const std::uint32_t sign = bits_of(x) >> 16 & 0x8000U;
    const std::uint32_t magnitude = smaller(magnitude_of(x), 0x477FE000U);  // 65504
    // What lies below 2^-14 counts in units of 2^-24, the last bit of 0.5.
    const std::uint32_t low = bits_of(float_of(magnitude) + 0.5F) - bits_of(0.5F);
    const std::uint32_t even = magnitude >> 13 & 1U;
    const std::uint32_t high = ((magnitude + 0xFFFU + even) >> 13) - (112U << 10);
    return sign | (magnitude < 0x38800000U ? low : high);
  }
  static float decode(std::uint32_t half) {
    const std::uint32_t magnitude = (half & 0x7FFFU) << 13;
    const float low = float_of(magnitude | 0x38800000U) - 0x1p-14F;
    const float high = float_of(magnitude + (112U << 23));
    const float value = (half & 0x7C00U) == 0 ? low : high;
    return float_of(bits_of(value) | (half & 0x8000U) << 16);
  }
};

struct Bfloat {
  static constexpr std::uint32_t kInfinite = 0x7F80;

  static std::uint32_t encode(float x) {
    const std::uint32_t magnitude = smaller(magnitude_of(x), 0x7F7F0000U);
    const std::uint32_t sign = bits_of(x) >> 16 & 0x8000U;
    return sign | (magnitude + 0x7FFFU + (magnitude >> 16 & 1U)) >> 16;
  }
  static float decode(std::uint32_t bfloat) { return float_of(bfloat << 16); }
};

template <typename Kind>
bool to_float16(const float* __restrict x, std::byte* bytes, std::size_t n) {
  RawHalf* __restrict y = reinterpret_cast<RawHalf*>(bytes);
  std::uint32_t bad = 0;
  for (std::size_t i = 0; i < n; ++i) {
    bad |= is_bad(x[i]);
    y[i] = static_cast<std::uint16_t>(Kind::encode(x[i]));
  }
  return bad == 0;
}

template <typename Kind>
bool is_finite(const std::byte* bytes, std::size_t n) {
  const RawHalf* x = reinterpret_cast<const RawHalf*>(bytes);
  std::uint16_t bad = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const auto exponent = static_cast<std::uint16_t>(x[i] & Kind::kInfinite);
    bad = static_cast<std::uint16_t>(bad | (exponent == Kind::kInfinite));
  }
  return bad == 0;
}

template <typename Kind>
void add_float16(const std::byte* bytes, float* __restrict y, std::size_t n) {
  const RawHalf* __restrict x = reinterpret_cast<const RawHalf*>(bytes);
  for (std::size_t i = 0; i < n; ++i) y[i] += Kind::decode(x[i]);
}

#if defined(__F16C__)  // the processor's own conversion, 8 at a time
bool to_half(const float* x, std::byte* y, std::size_t n) {
  const __m256 most = _mm256_set1_ps(65504.0F);
  const __m256 least = _mm256_set1_ps(-65504.0F);
  const __m256i exponent = _mm256_set1_epi32(static_cast<int>(kExponent));
  __m256i bad = _mm256_setzero_si256();
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 v = _mm256_loadu_ps(x + i);
    const __m256i e = _mm256_and_si256(_mm256_castps_si256(v), exponent);
    bad = _mm256_or_si256(bad, _mm256_cmpeq_epi32(e, exponent));
    const __m256 inside = _mm256_max_ps(_mm256_min_ps(v, most), least);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + 2 * i),
                     _mm256_cvtps_ph(inside, _MM_FROUND_TO_NEAREST_INT));
  }
  const bool finite = _mm256_testz_si256(bad, bad) != 0;
  return to_float16<Half>(x + i, y + 2 * i, n - i) && finite;
}

void add_half(const std::byte* x, float* y, std::size_t n) {
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 2 * i));
    _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_cvtph_ps(half)));
  }
  add_float16<Half>(x + 2 * i, y + i, n - i);
}
#else
constexpr auto to_half = &to_float16<Half>;
constexpr auto add_half = &add_float16<Half>;
#endif

// ---- blocks of integers

inline std::uint32_t largest_magnitude(const float* x, std::size_t n) {
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint32_t magnitude = magnitude_of(x[i]);
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest;
}

// n codes into (n + 1) / 2 bytes.
inline void pack_nibbles(const RawCode* __restrict codes, std::size_t n, RawCode* __restrict y) {
  for (std::size_t i = 0; i < n / 2; ++i) {
    const unsigned low = static_cast<unsigned char>(codes[2 * i]) & 15U;
    y[i] = static_cast<signed char>(low | static_cast<unsigned>(codes[2 * i + 1]) << 4U);
  }
  if (n % 2 != 0) y[n / 2] = static_cast<signed char>(codes[n - 1] & 15);
}

template <unsigned bits>
inline void codes_to_nearest(std::size_t block, const float* __restrict x, std::size_t n,
                             const std::byte* exponents, RawCode* __restrict codes) {
  for (std::size_t at = 0; at < n; at += block) {
    const std::size_t end = n - at < block ? n : at + block;
    const float inverse = inverse_of(static_cast<std::uint32_t>(exponents[at / block]));
    for (std::size_t i = at; i < end; ++i) {
      codes[i] = static_cast<signed char>(nearest_code(x[i], inverse, largest_code(bits)));
    }
  }
}

// Values `first` and later ones of a chunk; x begins with them.
template <unsigned bits>
inline void codes_at_random(std::size_t block, const float* x, std::size_t n,
                            const RoundingKey& key, std::size_t first, const std::byte* exponents,
                            RawCode* codes) {
  const float most = static_cast<float>(largest_code(bits));
  for (std::size_t at = 0; at < n; at += kGroup) {
    const std::size_t last = at + kWordsOfGroup < n ? at + kWordsOfGroup : at;
    const float inverse[2] = {inverse_of(static_cast<std::uint32_t>(exponents[at / block])),
                              inverse_of(static_cast<std::uint32_t>(exponents[last / block]))};
    const std::size_t group = (first + at) / kGroup;
    if (n - at >= kGroup) {
      code_group(x + at, key, group, inverse, most, codes + at);
      continue;
    }
    float rest[kGroup] = {};
    Code coded[kGroup];
    for (std::size_t i = at; i < n; ++i) rest[i - at] = x[i];
    code_group(rest, key, group, inverse, most, coded);
    for (std::size_t i = at; i < n; ++i) codes[i] = coded[i - at];
  }
}

template <unsigned bits>
bool to_codes(std::size_t block, const float* x, std::size_t n, const RoundingKey* random,
              std::byte* exponents, std::byte* codes) {
  RawCode* out = reinterpret_cast<RawCode*>(codes);
  const auto rounding = random == nullptr ? Rounding::nearest : Rounding::random;
  std::uint32_t bad = 0;
  RawCode wide[bits == 8 ? 1 : kMostBlock];
  for (std::size_t tile = 0; tile < n; tile += kMostBlock) {  // of whole blocks, and of groups
    const std::size_t size = n - tile < kMostBlock ? n - tile : kMostBlock;
    std::byte* scales = exponents + tile / block;
    for (std::size_t at = 0; at < size; at += block) {
      const std::uint32_t largest =
          largest_magnitude(x + tile + at, size - at < block ? size - at : block);
      bad |= static_cast<std::uint32_t>(largest >= kExponent);
      scales[at / block] = static_cast<std::byte>(exponent_of(largest, bits, rounding));
    }
    RawCode* to = bits == 8 ? out + tile : wide;
    if (random == nullptr) {
      codes_to_nearest<bits>(block, x + tile, size, scales, to);
    } else {
      codes_at_random<bits>(block, x + tile, size, *random, tile, scales, to);
    }
    if (bits == 4) pack_nibbles(wide, size, out + tile / 2);
  }
  return bad == 0;
}

inline void add_scaled(const RawCode* __restrict codes, float scale, float* __restrict y,
                       std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += static_cast<float>(codes[i]) * scale;
}

inline void unpack_nibbles(const RawCode* __restrict x, std::size_t n, RawCode* __restrict codes) {
  for (std::size_t i = 0; i < (n + 1) / 2; ++i) {
    const auto byte = static_cast<unsigned char>(x[i]);
    codes[2 * i] = static_cast<signed char>(static_cast<signed char>(byte << 4U) >> 4);
    codes[2 * i + 1] = static_cast<signed char>(static_cast<signed char>(byte) >> 4);
  }
}

template <unsigned bits>
void add_codes(std::size_t block, const std::byte* exponents, const std::byte* codes, float* y,
               std::size_t n) {
  const RawCode* in = reinterpret_cast<const RawCode*>(codes);
  for (std::size_t at = 0; at < n; at += block) {
    const std::size_t count = n - at < block ? n - at : block;
    const float scale = scale_of(static_cast<std::uint32_t>(*exponents++));
    if constexpr (bits == 8) {
      add_scaled(in + at, scale, y + at, count);
    } else {
      RawCode wide[kMostBlock];
      unpack_nibbles(in + at / 2, count, wide);
      add_scaled(wide, scale, y + at, count);
    }
  }
}

// ---- signs

constexpr int kSign = static_cast<int>(0x80000000U);

// The signs of 16 floats, the first one lowest.
inline std::uint32_t signs_of(const float* x) {
#if defined(__AVX512DQ__)
  return static_cast<std::uint32_t>(_mm512_movepi32_mask(_mm512_loadu_si512(x)));
#elif defined(__AVX__)
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_loadu_ps(x)) |
                                    _mm256_movemask_ps(_mm256_loadu_ps(x + 8)) << 8);
#else
  std::uint32_t signs = 0;
  for (std::size_t j = 0; j < kLanes; j += 4) {
    signs |= static_cast<std::uint32_t>(_mm_movemask_ps(_mm_loadu_ps(x + j))) << j;
  }
  return signs;
#endif
}

inline void add_magnitudes(const float* x, float share, Lanes<float>& sums) {
  for (std::size_t j = 0; j < kLanes; ++j) sums.lane[j] += float_of(magnitude_of(x[j])) * share;
}

inline float tree_of(Lanes<float>& sums) {
  for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::size_t j = 0; j < half; ++j) sums.lane[j] += sums.lane[j + half];
  }
  return sums.lane[0];
}

// What is not finite shows in the sum, which cannot overflow by itself: values are divided first.
bool to_signs(std::size_t block, const float* x, std::size_t n, std::byte* scales,
              std::byte* bits) {
  RawFloat* scale = reinterpret_cast<RawFloat*>(scales);
  const float share = 1.0F / static_cast<float>(block);
  std::uint32_t bad = 0;
  for (std::size_t at = 0; at < n; at += block) {
    const std::size_t end = n - at < block ? n : at + block;
    Lanes<float> sums{};
    std::size_t i = at;
    for (; i + kLanes <= end; i += kLanes) {
      add_magnitudes(x + i, share, sums);
      const auto signs = static_cast<std::uint16_t>(signs_of(x + i));
      __builtin_memcpy(bits + i / 8, &signs, sizeof signs);
    }
    if (i < end) {
      const Lanes<float> last = last_lanes(x + i, end - i, 0.0F);
      add_magnitudes(last.lane, share, sums);
      const std::uint32_t signs = signs_of(last.lane);
      for (std::size_t j = 0; j < (end - i + 7) / 8; ++j) {
        bits[i / 8 + j] = static_cast<std::byte>(signs >> (8 * j));
      }
    }
    float mean = tree_of(sums);
    bad |= is_bad(mean);
    if (end - at < block) mean *= static_cast<float>(block) / static_cast<float>(end - at);
    *scale++ = mean < __FLT_MAX__ ? mean : __FLT_MAX__;
  }
  return bad == 0;
}

// y += scale, or -scale where the bit is set.
inline void add_signed(std::uint32_t signs, float scale, float* y) {
#if defined(__AVX512F__)
  const __m512i sign = _mm512_maskz_set1_epi32(static_cast<__mmask16>(signs), kSign);
  const __m512i value = _mm512_or_si512(sign, _mm512_castps_si512(_mm512_set1_ps(scale)));
  _mm512_storeu_ps(y, _mm512_add_ps(_mm512_loadu_ps(y), _mm512_castsi512_ps(value)));
#elif defined(__AVX2__)
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  for (std::size_t j = 0; j < kLanes; j += 8) {
    const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(signs >> j)), bit);
    const __m256i sign = _mm256_and_si256(_mm256_cmpeq_epi32(set, bit), _mm256_set1_epi32(kSign));
    const __m256 value = _mm256_or_ps(_mm256_castsi256_ps(sign), _mm256_set1_ps(scale));
    _mm256_storeu_ps(y + j, _mm256_add_ps(_mm256_loadu_ps(y + j), value));
  }
#else
  const __m128i bit = _mm_setr_epi32(1, 2, 4, 8);
  for (std::size_t j = 0; j < kLanes; j += 4) {
    const __m128i set = _mm_and_si128(_mm_set1_epi32(static_cast<int>(signs >> j)), bit);
    const __m128i sign = _mm_and_si128(_mm_cmpeq_epi32(set, bit), _mm_set1_epi32(kSign));
    const __m128 value = _mm_or_ps(_mm_castsi128_ps(sign), _mm_set1_ps(scale));
    _mm_storeu_ps(y + j, _mm_add_ps(_mm_loadu_ps(y + j), value));
  }
#endif
}

void add_signs(std::size_t block, const std::byte* scales, const std::byte* bits, float* y,
               std::size_t n) {
  const RawFloat* scale = reinterpret_cast<const RawFloat*>(scales);
  for (std::size_t at = 0; at < n; at += block) {
    const std::size_t end = n - at < block ? n : at + block;
    const float mean = *scale++;
    std::size_t i = at;
    for (; i + kLanes <= end; i += kLanes) {
      std::uint16_t signs = 0;
      __builtin_memcpy(&signs, bits + i / 8, sizeof signs);
      add_signed(signs, mean, y + i);
    }
    for (; i < end; ++i) {
      const bool negative = (static_cast<unsigned>(bits[i / 8]) >> (i % 8) & 1U) != 0;
      y[i] += negative ? -mean : mean;
    }
  }
}

// ---- large values

// `below` is the largest magnitude that is not marked.
inline std::uint64_t larger_than(const float* x, std::uint32_t below) {
#if defined(__AVX512F__)
  const __m512i magnitude = _mm512_and_si512(_mm512_loadu_si512(x), _mm512_set1_epi32(0x7FFFFFFF));
  return _mm512_cmpgt_epi32_mask(magnitude, _mm512_set1_epi32(static_cast<int>(below)));
#elif defined(__AVX2__)
  std::uint64_t mask = 0;
  for (std::size_t j = 0; j < kLanes; j += 8) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + j));
    const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7FFFFFFF));
    const __m256i large = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(static_cast<int>(below)));
    mask |= static_cast<std::uint64_t>(_mm256_movemask_ps(_mm256_castsi256_ps(large))) << j;
  }
  return mask;
#else
  std::uint64_t mask = 0;
  for (std::size_t j = 0; j < kLanes; j += 4) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + j));
    const __m128i magnitude = _mm_and_si128(bits, _mm_set1_epi32(0x7FFFFFFF));
    const __m128i large = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(static_cast<int>(below)));
    mask |= static_cast<std::uint64_t>(_mm_movemask_ps(_mm_castsi128_ps(large))) << j;
  }
  return mask;
#endif
}

void mark_large(const float* x, std::size_t n, std::uint32_t lowest, std::uint64_t* words) {
  constexpr std::size_t kWord = 64;
  std::size_t i = 0;
  for (; i + kWord <= n; i += kWord) {
    std::uint64_t word = 0;
    for (std::size_t j = 0; j < kWord; j += kLanes) word |= larger_than(x + i + j, lowest - 1) << j;
    *words++ = word;
  }
  if (i == n) return;
  std::uint64_t word = 0;
  for (std::size_t j = 0; i + j < n; ++j) {
    word |= static_cast<std::uint64_t>(magnitude_of(x[i + j]) >= lowest) << j;
  }
  *words = word;
}

constexpr CodecSet codec_set() {
  return {kInstructionSet,
          {to_half, &to_float16<Bfloat>},
          {&is_finite<Half>, &is_finite<Bfloat>},
          {add_half, &add_float16<Bfloat>},
          {&to_codes<8>, &to_codes<4>},
          {&add_codes<8>, &add_codes<4>},
          &to_signs,
          &add_signs,
          &mark_large};
}

}  // namespace
}  // namespace sheaf::math
