#include "common/privacy/noise/discrete_gaussian.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <numbers>

#include "common/base/error.h"

namespace sheaf::privacy {
namespace {

math::ChachaKey discrete_key(std::uint32_t n) { return {n, 0xD15C, 3, 4, 5, 6, 7, 8}; }

// In proportion to e^(-x^2 / 2 s^2), by plain summation.
double exact_mass(std::int64_t x, double variance) {
  double total = 0;
  for (double k = -200; k <= 200; ++k) total += std::exp(-k * k / (2 * variance));
  const auto at = static_cast<double>(x);
  return std::exp(-at * at / (2 * variance)) / total;
}

struct Case {
  std::uint64_t numerator, denominator;
};

// The total variation distance of a histogram of N draws from the truth has mean
// sum sqrt(p (1 - p) / 2 pi N), and a standard deviation below sqrt(1 / 4 N): so 0.0010 + 4 *
// 0.0005 for 10^6 draws at variance 4, and 0.0032 for all of these. Chi-square is the sharper test.
TEST(DiscreteGaussian, HasItsMasses) {
  constexpr int kDraws = 1'000'000;
  for (const auto& [numerator, denominator] : {Case{4, 1}, {1, 4}, {37, 10}}) {
    const double variance = static_cast<double>(numerator) / static_cast<double>(denominator);
    DiscreteGaussian draws(numerator, denominator, discrete_key(1));
    std::map<std::int64_t, double> counts;
    for (int i = 0; i < kDraws; ++i) ++counts[draws.next()];
    double distance = 0, chi_square = 0, degrees = -1;
    for (std::int64_t x = -60; x <= 60; ++x) {
      const double expected = kDraws * exact_mass(x, variance);
      distance += std::abs(counts[x] - expected) / kDraws / 2;
      if (expected < 20) continue;
      chi_square += (counts[x] - expected) * (counts[x] - expected) / expected;
      ++degrees;
    }
    EXPECT_LT(distance, 0.0032) << variance;
    EXPECT_LT((chi_square - degrees) / std::sqrt(2 * degrees), 5) << variance;
  }
}

TEST(DiscreteGaussian, HasTheMomentsOfANormalDistribution) {
  // For s >= 1 mean, variance and kurtosis are those of the normal one to 1e-7.
  constexpr int kDraws = 300'000;
  const double variance = 1e8 / 3;
  DiscreteGaussian draws(100'000'000, 3, discrete_key(2));
  double sum = 0, squares = 0, fourth = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double z = static_cast<double>(draws.next()) / std::sqrt(variance);
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  EXPECT_LT(std::abs(sum) / std::sqrt(kDraws), 4);
  EXPECT_LT(std::abs(squares - kDraws) / std::sqrt(2.0 * kDraws), 4);
  EXPECT_LT(std::abs(fourth - 3.0 * kDraws) / std::sqrt(96.0 * kDraws), 4);
}

TEST(DiscreteGaussian, TakesTheSmallestAndTheLargestVariance) {
  DiscreteGaussian narrow(1, 65536, discrete_key(3));
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(narrow.next(), 0);  // another one has e^-32768
  DiscreteGaussian wide((std::uint64_t{1} << 48) - 1, 65536, discrete_key(3));
  std::int64_t largest = 0;
  for (int i = 0; i < 1000; ++i) largest = std::max(largest, std::abs(wide.next()));
  EXPECT_GT(largest, 2 * 65536);
  EXPECT_LT(largest, 6 * 65536);
}

TEST(DiscreteGaussian, IsAFunctionOfItsKey) {
  DiscreteGaussian a(100, 1, discrete_key(4)), again(100, 1, discrete_key(4));
  DiscreteGaussian other(100, 1, discrete_key(5));
  int equal = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::int64_t x = a.next();
    EXPECT_EQ(x, again.next());
    equal += x == other.next() ? 1 : 0;
  }
  EXPECT_LT(equal, 100);  // 28 expected
}

TEST(DiscreteGaussian, RefusesWhatItCannotDoExactly) {
  EXPECT_THROW(DiscreteGaussian(0, 1, {}), Error);
  EXPECT_THROW(DiscreteGaussian(1, 0, {}), Error);
  EXPECT_THROW(DiscreteGaussian(1, 65537, {}), Error);
  EXPECT_THROW(DiscreteGaussian(std::uint64_t{1} << 32, 1, {}), Error);
}

TEST(SecretWords, AreUniformBelowAnyBound) {
  SecretWords words(discrete_key(6), 0);
  for (const std::uint64_t bound : {1U, 2U, 3U, 7U, 1000U}) {
    std::vector<double> counts(bound);
    for (int i = 0; i < 100'000; ++i) ++counts[static_cast<std::size_t>(words.below(bound))];
    double chi_square = 0;
    const double expected = 100'000 / static_cast<double>(bound);
    for (const double count : counts)
      chi_square += (count - expected) * (count - expected) / expected;
    const double degrees = static_cast<double>(bound) - 1;
    EXPECT_LE(std::abs(chi_square - degrees), 4.5 * std::sqrt(2 * degrees)) << bound;
  }
  // Bounds of more than a word: the mean of draws is half of it.
  const UInt128 large = (UInt128{1} << 100) + 12345;
  double mean = 0;
  for (int i = 0; i < 10'000; ++i) {
    const UInt128 x = words.below(large);
    EXPECT_TRUE(x < large);
    mean += static_cast<double>(x) / static_cast<double>(large) / 10'000;
  }
  EXPECT_NEAR(mean, 0.5, 4 * std::sqrt(1 / 12.0 / 10'000));
}

}  // namespace
}  // namespace sheaf::privacy
