// The reference is libm in fp64, whose error is far below one unit in the last place (ulp) of fp32.
// Every 1021st float of all 2^32 is tried, and the bounds themselves.
#include "common/math/elementary.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace sheaf::math {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The distance between neighbouring floats (doubles) at `x`; of subnormals it is the smallest one.
template <typename T>
double ulp(double x) {
  constexpr int kDigits = std::numeric_limits<T>::digits;
  const int exponent = std::max(std::ilogb(x), std::numeric_limits<T>::min_exponent - 1);
  return std::ldexp(1.0, exponent - kDigits + 1);
}

// The largest error in ulp over the sampled floats at which `reference` is a finite float.
template <typename Function, typename Reference>
double largest_error(Function function, Reference reference) {
  double largest = 0;
  for (std::uint64_t bits = 0; bits < std::uint64_t{1} << 32; bits += 1021) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    const double expected = reference(static_cast<double>(x));
    if (!std::isfinite(x) || std::abs(expected) > std::numeric_limits<float>::max()) continue;
    const double found = static_cast<double>(function(x));
    const double error =
        found == expected ? 0.0 : std::abs(found - expected) / ulp<float>(expected);
    largest = std::max(largest, error);
  }
  return largest;
}

TEST(ExpOf, IsWithinTwoUlpOverTheWholeRange) {
  EXPECT_LT(largest_error([](float x) { return exp_of(x); }, [](double x) { return std::exp(x); }),
            2);
}

TEST(ExpOf, SaturatesWhereAFloatEnds) {
  EXPECT_EQ(exp_of(0), 1);
  EXPECT_EQ(exp_of(-0.0F), 1);
  EXPECT_TRUE(std::isfinite(exp_of(88.7228F)));  // log of the largest float is 88.72283905
  EXPECT_EQ(exp_of(88.7229F), kInfinity);
  EXPECT_EQ(exp_of(kInfinity), kInfinity);
  EXPECT_EQ(exp_of(-103.0F), std::numeric_limits<float>::denorm_min());  // e^-103 = 1.32 of it
  EXPECT_EQ(exp_of(-103.98F), 0);                                        // below half of it
  EXPECT_EQ(exp_of(-kInfinity), 0);
  EXPECT_TRUE(std::isnan(exp_of(kNan)));
  EXPECT_TRUE(std::isnan(exp_of(-kNan)));
}

TEST(SigmoidOf, IsWithinThreeUlpOverTheWholeRange) {
  const auto reference = [](double x) {
    return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
  };
  EXPECT_LT(largest_error([](float x) { return sigmoid_of(x); }, reference), 3);
}

TEST(SigmoidOf, Saturates) {
  EXPECT_EQ(sigmoid_of(0), 0.5F);
  EXPECT_EQ(sigmoid_of(kInfinity), 1);
  EXPECT_EQ(sigmoid_of(-kInfinity), 0);
  EXPECT_GT(sigmoid_of(-100), 0);  // e^-100 is a subnormal float
  EXPECT_TRUE(std::isnan(sigmoid_of(kNan)));
}

TEST(TanhOf, IsWithinThreeUlpOverTheWholeRange) {
  EXPECT_LT(
      largest_error([](float x) { return tanh_of(x); }, [](double x) { return std::tanh(x); }), 3);
}

TEST(TanhOf, IsOddAndSaturates) {
  EXPECT_EQ(tanh_of(kInfinity), 1);
  EXPECT_EQ(tanh_of(-kInfinity), -1);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(tanh_of(-0.0F)), 0x80000000U);
  EXPECT_TRUE(std::isnan(tanh_of(kNan)));
  for (float x = 0.01F; x < 12; x *= 1.1F) EXPECT_EQ(tanh_of(-x), -tanh_of(x));
}

TEST(LogOf, IsWithinTwoUlpOverTheWholeRange) {
  double largest = 0;
  for (double x = std::numeric_limits<double>::denorm_min(); std::isfinite(x); x *= 1.37) {
    // Steps of 1.37 from the subnormals on visit every binade; near 1 steps are finer below.
    largest = std::max(largest, std::abs(log_of(x) - std::log(x)) / ulp<double>(std::log(x)));
    if (x < 2e-323) x *= 2;  // 1.37 times the smallest subnormal is the smallest subnormal
  }
  for (double x = 0.5; x < 2; x += 0x1p-12) {
    if (x == 1) continue;
    largest = std::max(largest, std::abs(log_of(x) - std::log(x)) / ulp<double>(std::log(x)));
  }
  EXPECT_LT(largest, 2);
}

TEST(LogOf, KnowsItsEdges) {
  EXPECT_EQ(log_of(1), 0);
  EXPECT_EQ(log_of(0), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(log_of(std::numeric_limits<double>::infinity()),
            std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(log_of(-1)));
  EXPECT_TRUE(std::isnan(log_of(std::numeric_limits<double>::quiet_NaN())));
}

TEST(LogOnePlus, IsWithinThreeUlpFromZeroToOne) {
  double largest = 0;
  for (double x = 1; x > 1e-300; x *= 0.99) {
    largest =
        std::max(largest, std::abs(log_1_plus(x) - std::log1p(x)) / ulp<double>(std::log1p(x)));
  }
  EXPECT_LT(largest, 3);
  EXPECT_EQ(log_1_plus(0), 0);
}

}  // namespace
}  // namespace sheaf::math
