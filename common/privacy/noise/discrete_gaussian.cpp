#include "common/privacy/noise/discrete_gaussian.h"

#include <cstdlib>

#include "common/base/error.h"

namespace sheaf::privacy {
namespace {

constexpr std::uint32_t kStream = 0x80000000;  // NormalNoise has the others

std::uint64_t floor_of_root(std::uint64_t x) {
  std::uint64_t root = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 31; bit != 0; bit /= 2) {
    if ((root + bit) * (root + bit) <= x) root += bit;
  }
  return root;
}

}  // namespace

DiscreteGaussian::DiscreteGaussian(std::uint64_t numerator, std::uint64_t denominator,
                                   const math::ChachaKey& key)
    : words_(key, kStream), numerator_(numerator), denominator_(denominator) {
  constexpr std::uint64_t kMostVariance = std::uint64_t{1} << 32;
  if (numerator == 0 || denominator == 0 || denominator > (1U << 16) ||
      numerator / denominator >= kMostVariance) {
    fail(Fault::config,
         "discrete Gaussian: found variance {} / {}, expected a fraction above 0 and below 2^32 "
         "whose denominator is at most 2^16",
         numerator, denominator);
  }
  scale_ = floor_of_root(numerator / denominator) + 1;
}

// Algorithm 1. For a ratio g up to 1: true if the first k = 1, 2, … at which a coin of probability
// g / k shows tails is odd, as 1 - g + g^2/2! - … = e^-g. Above 1: e^-1 as often as 1 fits, first.
bool DiscreteGaussian::bernoulli_exp(UInt128 numerator, UInt128 denominator) {
  for (; numerator > denominator; numerator -= denominator) {
    if (!bernoulli_exp(1, 1)) return false;
  }
  for (UInt128 k = 1;; ++k) {
    // numerator / (denominator k): a draw below each, so that no product overflows.
    const bool heads = words_.below(k) == 0 && words_.below(denominator) < numerator;
    if (!heads) return k % 2 == 1;
  }
}

// Algorithm 2, with t = scale_ and s = 1.
std::int64_t DiscreteGaussian::discrete_laplace() {
  for (;;) {
    const auto u = static_cast<std::uint64_t>(words_.below(scale_));
    if (!bernoulli_exp(u, scale_)) continue;
    std::uint64_t v = 0;
    while (bernoulli_exp(1, 1)) ++v;
    const auto x = static_cast<std::int64_t>(u + scale_ * v);
    const bool negative = words_.below(2) == 1;
    if (negative && x == 0) continue;  // 0 would count twice
    return negative ? -x : x;
  }
}

// Algorithm 3: a discrete Laplace y is kept with probability exp(-(|y| - s^2/t)^2 / 2 s^2). Times
// (d t)^2 for s^2 = n / d that exponent is (|y| d t - n)^2 / (2 n d t^2). Values that would not fit
// have probability below e^-(2^14) and are drawn again.
std::int64_t DiscreteGaussian::next() {
  const UInt128 dt = UInt128{denominator_} * scale_;
  const UInt128 below = UInt128{2} * numerator_ * dt * scale_;
  for (;;) {
    const std::int64_t y = discrete_laplace();
    const UInt128 scaled = static_cast<UInt128>(std::abs(y)) * dt;
    if (scaled >> 63 != 0) continue;
    const UInt128 n = numerator_;
    const UInt128 distance = scaled > n ? scaled - n : n - scaled;
    if (bernoulli_exp(distance * distance, below)) return y;
  }
}

}  // namespace sheaf::privacy
