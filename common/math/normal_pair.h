// One pair of normal deviates from two random words, as secure_random.h defines it, from additions,
// multiplications and a square root alone, without branches. Same rules as elementary.h.
#pragma once

#include <cstdint>

namespace sheaf::math {

#define SHEAF_ELEMENTARY [[gnu::always_inline]] static inline

// log(u 2^-24) of a float u from 2^-17 to 2^24, with the polynomial of Cephes' logf.
SHEAF_ELEMENTARY float log_of_uniform(float u) {
  constexpr std::int32_t kHalfRoot = 0x3F3504F3;  // sqrt(1/2): u = m 2^e, m from there to sqrt(2)
  const std::int32_t bits = __builtin_bit_cast(std::int32_t, u) - kHalfRoot;
  const auto e = static_cast<float>((bits >> 23) - 24);
  const float x = __builtin_bit_cast(float, (bits & 0x007FFFFF) + kHalfRoot) - 1.0F;
  const float z = x * x;
  float p = 7.0376836292e-2F;
  p = p * x + -1.1514610310e-1F;
  p = p * x + 1.1676998740e-1F;
  p = p * x + -1.2420140846e-1F;
  p = p * x + 1.4249322787e-1F;
  p = p * x + -1.6668057665e-1F;
  p = p * x + 2.0000714765e-1F;
  p = p * x + -2.4999993993e-1F;
  p = p * x + 3.3333331174e-1F;
  const float y = p * x * z + e * -2.12194440e-4F + -0.5F * z;
  return (x + y) + e * 0.693359375F;  // log(2) in two parts
}

// The cosine and the sine of 2 pi v, v + 1/8 the middle of one of 2^24 cells.
struct Direction2 {
  float cosine, sine;
};
SHEAF_ELEMENTARY Direction2 direction_of(std::uint32_t b) {
  // A quadrant, and within it from -1/2 to 1/2 of one.
  const std::uint32_t quadrant = b >> 30;
  const auto cell = static_cast<float>(static_cast<std::int32_t>((b >> 8) & 0x3FFFFFU));
  const float x = ((cell + 0.5F) * 0x1p-22F - 0.5F) * 1.57079632679489662F;
  const float z = x * x;
  // The polynomials of Cephes' sinf and cosf.
  const float s = ((-1.9515295891e-4F * z + 8.3321608736e-3F) * z + -1.6666654611e-1F) * z * x + x;
  const float c =
      ((2.443315711809948e-5F * z + -1.388731625493765e-3F) * z + 4.166664568298827e-2F) * (z * z) +
      -0.5F * z + 1.0F;
  const bool turned = (quadrant & 1U) != 0;
  const float first = turned ? s : c;
  const float second = turned ? c : s;
  const std::uint32_t first_sign = ((quadrant + 1U) & 2U) << 30;
  const std::uint32_t second_sign = (quadrant & 2U) << 30;
  return {__builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, first) ^ first_sign),
          __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, second) ^ second_sign)};
}

// sqrt(-2 log u), u = (a's 32 and b's lower 8 bits + 1/2) 2^-40. Near 1 the sum of both halves is
// rounded; what it lost is added to the logarithm, whose slope is 1 there.
SHEAF_ELEMENTARY float radius_of(std::uint32_t a, std::uint32_t b) {
  const auto high = static_cast<float>(static_cast<std::int32_t>(a >> 8));
  const auto rest = static_cast<std::int32_t>(((a & 0xFFU) << 8) | (b & 0xFFU));
  const float low = (static_cast<float>(rest) + 0.5F) * 0x1p-16F;
  const float u = high + low;
  const float lost = (high - u) + low;
  return __builtin_sqrtf(-2.0F * (log_of_uniform(u) + lost * 0x1p-24F));
}

#undef SHEAF_ELEMENTARY

}  // namespace sheaf::math
