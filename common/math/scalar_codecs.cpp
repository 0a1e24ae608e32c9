// The reference that the vector code of codecs.h is held against, one value after the other. Only
// the rule of a block's code is shared, in block_code.h; 16-bit floats are worked out from their
// definition.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "common/math/block_code.h"
#include "common/math/codec_set.h"

namespace sheaf::math {
namespace {

using Size = std::size_t;

// A binary format with so many bits of fraction, whose least normal number is 2^least.
struct Half {
  static constexpr int kFraction = 10, kLeast = -14;
  static constexpr double kMost = 65504;
};
struct Bfloat {
  static constexpr int kFraction = 7, kLeast = -126;
  static constexpr double kMost = 0x1.FEp127;
};

template <typename Kind>
std::uint16_t encode(float x) {
  const double magnitude = std::min(std::abs(static_cast<double>(x)), Kind::kMost);
  int exponent = 0;  // magnitude in [2^exponent, 2^(exponent + 1))
  std::frexp(magnitude, &exponent);
  exponent = magnitude == 0 ? Kind::kLeast : std::max(exponent - 1, Kind::kLeast);
  // In units of the last place; the bits of the exponent follow those of the fraction, and a unit
  // too many carries into them.
  const auto units =
      static_cast<int>(std::nearbyint(std::ldexp(magnitude, Kind::kFraction - exponent)));
  const int bits = units + ((exponent - Kind::kLeast) << Kind::kFraction);
  return static_cast<std::uint16_t>(bits | (std::signbit(x) ? 0x8000 : 0));
}

template <typename Kind>
float decode(std::uint16_t half) {
  const int exponent = (half & 0x7FFF) >> Kind::kFraction;
  const int fraction = half & ((1 << Kind::kFraction) - 1);
  const int units = exponent == 0 ? fraction : fraction | 1 << Kind::kFraction;
  const double magnitude =
      std::ldexp(units, std::max(exponent, 1) - 1 + Kind::kLeast - Kind::kFraction);
  return static_cast<float>((half & 0x8000) != 0 ? -magnitude : magnitude);
}

std::uint16_t half_at(const std::byte* bytes, Size i) {
  std::uint16_t half;
  std::memcpy(&half, bytes + 2 * i, 2);
  return half;
}

template <typename Kind>
bool to_float16(const float* x, std::byte* y, Size n) {
  for (Size i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) return false;
    const std::uint16_t half = encode<Kind>(x[i]);
    std::memcpy(y + 2 * i, &half, 2);
  }
  return true;
}

template <typename Kind>
bool is_finite(const std::byte* x, Size n) {
  constexpr int kInfinite = 0x7FFF >> Kind::kFraction;
  for (Size i = 0; i < n; ++i) {
    if ((half_at(x, i) & 0x7FFF) >> Kind::kFraction == kInfinite) return false;
  }
  return true;
}

template <typename Kind>
void add_float16(const std::byte* x, float* y, Size n) {
  for (Size i = 0; i < n; ++i) y[i] += decode<Kind>(half_at(x, i));
}

template <unsigned bits>
bool to_codes(Size block, const float* x, Size n, const RoundingKey* random, std::byte* exponents,
              std::byte* codes) {
  constexpr unsigned kInByte = 8 / bits;
  std::fill_n(codes, (n + kInByte - 1) / kInByte, std::byte{0});
  for (Size i = 0; i < n; ++i) {
    if (!std::isfinite(x[i])) return false;
    const Size first = i / block * block;
    float largest = 0;
    for (Size j = first; j < std::min(n, first + block); ++j) {
      largest = std::max(largest, std::abs(x[j]));
    }
    const auto rounding = random == nullptr ? Rounding::nearest : Rounding::random;
    const std::uint32_t exponent =
        exponent_of(std::bit_cast<std::uint32_t>(largest), bits, rounding);
    exponents[i / block] = static_cast<std::byte>(exponent);
    const float inverse = inverse_of(exponent);
    const std::int32_t code =
        random == nullptr ? nearest_code(x[i], inverse, largest_code(bits))
                          : random_code(x[i], inverse, random_bits(*random, i), largest_code(bits));
    const unsigned field = static_cast<unsigned>(code) & ((1U << bits) - 1);
    codes[i / kInByte] |= static_cast<std::byte>(field << (i % kInByte * bits));
  }
  return true;
}

template <unsigned bits>
void add_codes(Size block, const std::byte* exponents, const std::byte* codes, float* y, Size n) {
  constexpr unsigned kInByte = 8 / bits;
  for (Size i = 0; i < n; ++i) {
    const unsigned field =
        static_cast<unsigned>(codes[i / kInByte]) >> (i % kInByte * bits) & ((1U << bits) - 1);
    const int code = static_cast<int>(field) - (field >= 1U << (bits - 1) ? 1 << bits : 0);
    y[i] += static_cast<float>(code) * scale_of(static_cast<std::uint32_t>(exponents[i / block]));
  }
}

// Value i of a block belongs to lane i mod 16; lanes are added in a tree, lane j to lane j + half.
float sum_of_lanes(const float* lanes, Size half) {
  if (half == 0) return *lanes;
  float sums[16];
  for (Size j = 0; j < half; ++j) sums[j] = lanes[j] + lanes[j + half];
  return sum_of_lanes(sums, half / 2);
}

bool to_signs(Size block, const float* x, Size n, std::byte* scales, std::byte* bits) {
  std::fill_n(bits, (n + 7) / 8, std::byte{0});
  for (Size first = 0; first < n; first += block) {
    const Size end = std::min(n, first + block);
    float lanes[16] = {};
    for (Size i = first; i < end; ++i) {
      if (!std::isfinite(x[i])) return false;
      lanes[(i - first) % 16] += std::abs(x[i]) * (1 / static_cast<float>(block));
      if (std::signbit(x[i])) bits[i / 8] |= static_cast<std::byte>(1U << (i % 8));
    }
    float mean = sum_of_lanes(lanes, 8);
    if (end - first < block) mean *= static_cast<float>(block) / static_cast<float>(end - first);
    mean = std::min(mean, std::numeric_limits<float>::max());
    std::memcpy(scales + first / block * sizeof mean, &mean, sizeof mean);
  }
  return true;
}

void add_signs(Size block, const std::byte* scales, const std::byte* bits, float* y, Size n) {
  for (Size i = 0; i < n; ++i) {
    float mean;
    std::memcpy(&mean, scales + i / block * sizeof mean, sizeof mean);
    y[i] += (static_cast<unsigned>(bits[i / 8]) >> (i % 8) & 1U) != 0 ? -mean : mean;
  }
}

void mark_large(const float* x, Size n, std::uint32_t lowest, std::uint64_t* words) {
  std::fill_n(words, (n + 63) / 64, 0);
  for (Size i = 0; i < n; ++i) {
    const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFF;
    if (magnitude >= lowest) words[i / 64] |= std::uint64_t{1} << (i % 64);
  }
}

}  // namespace

constinit const CodecSet kScalarCodecs = {"scalar",
                                          {&to_float16<Half>, &to_float16<Bfloat>},
                                          {&is_finite<Half>, &is_finite<Bfloat>},
                                          {&add_float16<Half>, &add_float16<Bfloat>},
                                          {&to_codes<8>, &to_codes<4>},
                                          {&add_codes<8>, &add_codes<4>},
                                          &to_signs,
                                          &add_signs,
                                          &mark_large};

}  // namespace sheaf::math
