// Integers with one power-of-two scale for a block of values, for one value at a time: the value of
// a code is code * 2^e, as in the block formats of OCP's MX specification (2023). Because scales
// are powers of two, x / scale is exact, and so is x - code * scale where codes are rounded to
// nearest.
//
// A scale is kept as the exponent bits of a float: byte e stands for 2^(e - 127). Internal linkage
// and no standard library, for the reasons in elementary.h. Thread-safe.
#pragma once

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

// floor(x / scale + u) with u = (word + 1/2) / 2^16: up with the probability of the fraction, so
// that the mean is x up to 2^-17 of a scale.
SHEAF_BLOCK_CODE std::int32_t random_code(float x, float inverse, std::uint16_t word,
                                          std::int32_t largest) {
  const float u = static_cast<float>(2 * static_cast<std::int32_t>(word) + 1) * 0x1p-17F;
  const float wanted = x * inverse + u;
  const float shifted = wanted + kToInteger;
  const std::int32_t above = shifted - kToInteger > wanted ? 1 : 0;
  return within(integer_of(shifted) - above, largest);
}

#undef SHEAF_BLOCK_CODE

}  // namespace sheaf::math
