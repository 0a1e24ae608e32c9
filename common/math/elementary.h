// e^x and its relatives for one value, from additions and multiplications alone: no libm, whose
// bits differ between processors, and no branches, so that loops over them become vector code.
//
// Every function here has internal linkage and is always inlined, because this header is compiled
// for several instruction sets: the linker must never pick an AVX-512 copy for the whole program.
// For the same reason nothing from the standard library is called. Thread-safe.
#pragma once

#include <cstdint>

namespace sheaf::math {

#define SHEAF_ELEMENTARY [[gnu::always_inline]] static inline

namespace elementary {
SHEAF_ELEMENTARY float absolute(float x) {
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, x) & 0x7FFFFFFFU);
}
SHEAF_ELEMENTARY float with_sign_of(float magnitude, float sign) {
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, magnitude) |
                                       (__builtin_bit_cast(std::uint32_t, sign) & 0x80000000U));
}
// 2^n for n from -126 to 127.
SHEAF_ELEMENTARY float power_of_two(std::int32_t n) {
  return __builtin_bit_cast(float, (static_cast<std::uint32_t>(n) + 127U) << 23);
}
}  // namespace elementary

// e^x = 2^n e^r with |r| <= ln(2) / 2 and the polynomial of Cephes' expf (Moshier 1984-2000).
SHEAF_ELEMENTARY float exp_of(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  // Beyond these bounds the result is infinity or 0. Written so that NaN falls through.
  x = x > 89.0F ? 89.0F : x;
  x = x < -104.0F ? -104.0F : x;
  const float shifted = x * 1.44269504088896341F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) - n * -2.12194440e-4F;  // ln(2) in two parts
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = (p * (r * r) + r) + 1.0F;
  // Two factors, because 2^n alone is not a normal float at either end. The first product is exact.
  const std::int32_t bits =
      __builtin_bit_cast(std::int32_t, shifted) - __builtin_bit_cast(std::int32_t, kRound);
  const std::int32_t half = bits >> 1;
  return (p * elementary::power_of_two(half)) * elementary::power_of_two(bits - half);
}

// 1 / (1 + e^-x), from e^-|x| so that small results keep their digits.
SHEAF_ELEMENTARY float sigmoid_of(float x) {
  const float e = exp_of(-elementary::absolute(x));
  const float numerator = x < 0.0F ? e : 1.0F;
  return numerator / (1.0F + e);
}

// Near 0 the polynomial of Cephes' tanhf, beyond it 1 - 2 / (e^2|x| + 1).
SHEAF_ELEMENTARY float tanh_of(float x) {
  const float a = elementary::absolute(x);
  const float z = a * a;
  float p = -5.70498872745e-3F;
  p = p * z + 2.06390887954e-2F;
  p = p * z + -5.37397155531e-2F;
  p = p * z + 1.33314422036e-1F;
  p = p * z + -3.33332819422e-1F;
  const float near = p * z * a + a;
  const float far = 1.0F - 2.0F / (exp_of(a + a) + 1.0F);
  return elementary::with_sign_of(a < 0.625F ? near : far, x);
}

// 2 atanh(s) = log((1 + s) / (1 - s)), by its Taylor series. Exact to rounding for |s| <= 1/3.
SHEAF_ELEMENTARY double twice_atanh_of(double s) {
  const double z = s * s;
  double sum = 0;
  for (int k = 35; k >= 3; k -= 2) sum = (sum + 1.0 / k) * z;
  return 2.0 * s + 2.0 * s * sum;
}

// log(1 + x) for x in [0, 1].
SHEAF_ELEMENTARY double log_1_plus(double x) { return twice_atanh_of(x / (2.0 + x)); }

// log x, for any x: log 0 = -infinity, NaN below 0.
SHEAF_ELEMENTARY double log_of(double x) {
  constexpr double kInfinity = __builtin_inf();
  if (!(x > 0.0 && x < kInfinity)) return x == 0.0 ? -kInfinity : x < 0.0 ? __builtin_nan("") : x;
  const bool subnormal = x < 0x1p-1022;
  const std::uint64_t bits = __builtin_bit_cast(std::uint64_t, subnormal ? x * 0x1p54 : x);
  int exponent = static_cast<int>(bits >> 52) - 1023 - (subnormal ? 54 : 0);
  double m = __builtin_bit_cast(double, (bits & 0xFFFFFFFFFFFFFULL) | 0x3FF0000000000000ULL);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  // ln(2) in two parts, the first with zeros at its end, so that its multiples are exact.
  const double tail = exponent * 1.90821492927058770002e-10;
  return exponent * 6.93147180369123816490e-01 + (twice_atanh_of((m - 1.0) / (m + 1.0)) + tail);
}

#undef SHEAF_ELEMENTARY

}  // namespace sheaf::math
