// Integers with one power-of-two scale for a block of values, for one value at a time: the value of
// a code is code * 2^e, as in the block formats of OCP's MX specification (2023). Because scales
// are powers of two, x / scale is exact, and so is x - code * scale where codes are rounded to
// nearest.
//
// A scale is kept as the exponent bits of a float: byte e stands for 2^(e - 127). Internal linkage
// and no standard library, for the reasons in elementary.h. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sheaf::math {

#define SHEAF_BLOCK_CODE [[gnu::always_inline]] static inline

// Codes of b bits are -(2^(b-1) - 1) … 2^(b-1) - 1.
SHEAF_BLOCK_CODE std::int32_t largest_code(unsigned bits) { return (1 << (bits - 1)) - 1; }

// No code of b bits times 2^(most_exponent - 127) overflows, -2^(b-1) included.
SHEAF_BLOCK_CODE std::uint32_t most_exponent(unsigned bits) { return 255U - bits; }

enum class Rounding { nearest, random };

// The smallest scale with which the largest magnitude of a block (as bits of a float) rounds to a
// code: below largest_code + 1/2 to nearest, at most largest_code at random. Never subnormal: what
// is below half of 2^-126 becomes 0. Beyond most_exponent codes saturate.
SHEAF_BLOCK_CODE std::uint32_t exponent_of(std::uint32_t magnitude, unsigned bits,
                                           Rounding rounding) {
  // What makes the mantissa of anything too large carry into the exponent.
  const std::uint32_t carry =
      rounding == Rounding::nearest ? 1U << (24U - bits) : (1U << (25U - bits)) - 1U;
  const std::uint32_t exponent = (magnitude + carry) >> 23U;
  const std::uint32_t shift = bits - 2U;
  const std::uint32_t least = exponent > shift ? exponent - shift : 1U;
  return least < most_exponent(bits) ? least : most_exponent(bits);
}

SHEAF_BLOCK_CODE float scale_of(std::uint32_t exponent) {
  return __builtin_bit_cast(float, exponent << 23U);
}
SHEAF_BLOCK_CODE float inverse_of(std::uint32_t exponent) {
  return __builtin_bit_cast(float, (254U - exponent) << 23U);
}

SHEAF_BLOCK_CODE std::int32_t within(std::int32_t code, std::int32_t largest) {
  code = code < largest ? code : largest;
  return code > -largest ? code : -largest;
}

// 1.5 * 2^23: adding it rounds to an integer, to even where two are as near.
constexpr float kToInteger = 12582912.0F;

SHEAF_BLOCK_CODE std::int32_t integer_of(float shifted) {
  return __builtin_bit_cast(std::int32_t, shifted) - __builtin_bit_cast(std::int32_t, kToInteger);
}

SHEAF_BLOCK_CODE std::int32_t nearest_code(float x, float inverse, std::int32_t largest) {
  return within(integer_of(x * inverse + kToInteger), largest);
}

// ---- at random

// Names the random bits of one encoding.
struct RoundingKey {
  std::uint32_t before = 0, between = 0;
};

constexpr std::uint32_t kHashFirst = 0x7FEB352DU, kHashSecond = 0x846CA68BU;

// Word i: lowbias32 (Wellons, "Prospecting for hash functions", 2018) of i, with a key before its
// first and before its second product. Two products where Philox has forty: good enough to round
// with, not for anything that has to be independent beyond doubt.
SHEAF_BLOCK_CODE std::uint32_t random_word(const RoundingKey& key, std::uint32_t i) {
  std::uint32_t x = i + key.before;
  x ^= x >> 16U;
  x *= kHashFirst;
  x ^= x >> 15U;
  x += key.between;
  x *= kHashSecond;
  return x ^ x >> 16U;
}

// A word rounds two values, its lower half value j of 32, its upper half value j + 16.
constexpr std::size_t kWordsOfGroup = 16;

// The 15 bits that round value i of a chunk: the upper ones of a half.
SHEAF_BLOCK_CODE std::int32_t random_bits(const RoundingKey& key, std::size_t i) {
  const std::size_t half = i / kWordsOfGroup;
  const std::uint32_t word =
      random_word(key, static_cast<std::uint32_t>(half / 2 * kWordsOfGroup + i % kWordsOfGroup));
  return static_cast<std::int32_t>((half % 2 == 0 ? word << 16U : word) >> 17U);
}

constexpr int kStepBits = 15;
constexpr float kStepsOfCode = 0x1p15F;

// floor(x / scale + u), x / scale to the nearest multiple of 2^-15 and u = random / 2^15: up with
// the probability of the fraction, so that the mean is x up to 2^-16 of a scale.
SHEAF_BLOCK_CODE std::int32_t random_code(float x, float inverse, std::int32_t random,
                                          std::int32_t largest) {
  const auto most = static_cast<float>(largest);
  float value = x * inverse;
  value = value > -most ? value : -most;
  value = value < most ? value : most;
  return (integer_of(value * kStepsOfCode + kToInteger) + random) >> kStepBits;
}

#undef SHEAF_BLOCK_CODE

}  // namespace sheaf::math
