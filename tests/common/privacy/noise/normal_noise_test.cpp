// Statistics with fixed keys: they pass or fail for ever. Thresholds are such that a right sampler
// with another key would fail once in 10^4 or less.
#include "common/privacy/noise/normal_noise.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "common/privacy/noise/secret_words.h"

namespace sheaf::privacy {
namespace {

math::ChachaKey key_number(std::uint32_t n) { return {n, 0x5EED, 3, 4, 5, 6, 7, 8}; }

// P(z > x) of a standard normal.
double upper_tail(double x) { return 0.5 * std::erfc(x / std::numbers::sqrt2); }

std::vector<float> draw(std::uint32_t key, std::size_t size) {
  std::vector<float> values(size);
  NormalNoise(key_number(key)).fill(values);
  return values;
}

// Chi-square with `degrees`, as a standard normal deviate (Wilson and Hilferty 1931).
double normal_score(double chi_square, double degrees) {
  const double spread = 2 / (9 * degrees);
  return (std::cbrt(chi_square / degrees) - (1 - spread)) / std::sqrt(spread);
}

TEST(NormalNoise, TenMillionFillTheirQuantilesEvenly) {
  constexpr std::size_t kSize = 10'000'000, kBins = 1000;
  std::vector<double> counts(kBins);
  for (const float z : draw(1, kSize)) {
    const double p = 1 - upper_tail(static_cast<double>(z));
    ++counts[std::min(kBins - 1, static_cast<std::size_t>(p * kBins))];
  }
  double chi_square = 0;
  for (const double count : counts) {
    constexpr double kExpected = double{kSize} / kBins;
    chi_square += (count - kExpected) * (count - kExpected) / kExpected;
  }
  EXPECT_LT(std::abs(normal_score(chi_square, kBins - 1)), 3.9);
}

TEST(NormalNoise, PassesAndersonAndDarling) {
  std::vector<float> z = draw(2, 1'000'000);
  std::ranges::sort(z);
  const auto n = static_cast<double>(z.size());
  double sum = 0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double low = upper_tail(-static_cast<double>(z[i]));
    const double high = upper_tail(static_cast<double>(z[z.size() - 1 - i]));
    sum += (2 * static_cast<double>(i) + 1) * (std::log(low) + std::log(high));
  }
  EXPECT_LT(-n - sum / n, 8.0);  // exceeded about once in 10^4 (Marsaglia and Marsaglia 2004)
}

TEST(NormalNoise, TailsHaveTheirShare) {
  constexpr std::size_t kSize = 10'000'000;
  const std::vector<float> z = draw(3, kSize);
  for (const float x : {3.0F, 4.0F, 5.0F}) {
    const double expected = kSize * upper_tail(static_cast<double>(x));
    const auto above =
        static_cast<double>(std::ranges::count_if(z, [=](float v) { return v > x; }));
    const auto below =
        static_cast<double>(std::ranges::count_if(z, [=](float v) { return v < -x; }));
    EXPECT_NEAR(above, expected, 3 * std::sqrt(expected)) << x;
    EXPECT_NEAR(below, expected, 3 * std::sqrt(expected)) << x;
  }
}

// Further out by taking what leads there alone: deviates beyond 6 come of uniforms below 2^-20, so
// among pairs with such a uniform their share is 2^20 times as large; beyond 7, 2^24 times.
TEST(NormalNoise, FarTailsHaveTheirShare) {
  constexpr std::size_t kPairs = 1'000'000;
  SecretWords random(key_number(4), 0);
  std::vector<std::uint32_t> words(2 * kPairs);
  for (std::size_t i = 0; i < kPairs; ++i) {
    words[i] = random.next() >> 20;
    words[kPairs + i] = random.next();
  }
  std::vector<float> z(words.size());
  math::normals(words, z);
  double beyond6 = 0;
  for (const float v : z) beyond6 += std::abs(v) > 6.0F ? 1 : 0;
  const double expected6 = 2 * kPairs * 0x1p20 * 2 * upper_tail(6);
  EXPECT_NEAR(beyond6, expected6, 3 * std::sqrt(expected6));

  double beyond7 = 0;
  for (std::size_t i = 0; i < 4 * kPairs; ++i) {
    const math::NormalPair pair = math::normal_tail(random.next(), random.next64());
    beyond7 += (std::abs(pair.cosine) > 7.0F ? 1 : 0) + (std::abs(pair.sine) > 7.0F ? 1 : 0);
  }
  const double expected7 = 8 * kPairs * 0x1p24 * 2 * upper_tail(7);
  EXPECT_NEAR(beyond7, expected7, 3 * std::sqrt(expected7));
}

TEST(NormalNoise, ValuesHaveNothingToDoWithEachOther) {
  constexpr std::size_t kSize = 1'000'000;
  const std::vector<float> z = draw(5, kSize);
  const std::vector<float> other = draw(6, kSize);
  // Neighbours, the two of a pair (512 apart), groups; and values of another key.
  for (const std::size_t lag : {1U, 2U, 16U, 512U, 1024U}) {
    double products = 0, squares = 0;
    for (std::size_t i = 0; i + lag < kSize; ++i) {
      const double a = z[i], b = z[i + lag];
      products += a * b;
      squares += (a * a - 1) * (b * b - 1) / 2;
    }
    EXPECT_LT(std::abs(products) / std::sqrt(kSize), 4.5) << lag;
    EXPECT_LT(std::abs(squares) / std::sqrt(kSize), 4.5) << lag;
  }
  double products = 0;
  for (std::size_t i = 0; i < kSize; ++i) products += static_cast<double>(z[i]) * other[i];
  EXPECT_LT(std::abs(products) / std::sqrt(kSize), 4.5);
}

TEST(NormalNoise, SharesOfSeveralWorkersAddUp) {
  constexpr std::size_t kSize = 1'000'000;
  std::vector<float> sum(kSize);
  for (std::uint32_t worker = 0; worker < 8; ++worker) {
    NormalNoise(key_number(100 + worker)).add(2.5F / std::sqrt(8.0F), sum);
  }
  double squares = 0;
  for (const float x : sum) squares += static_cast<double>(x) * x;
  EXPECT_NEAR(squares / kSize / 6.25, 1, 0.01);
}

TEST(NormalNoise, IsAFunctionOfTheKeyAndThePlaceAlone) {
  const std::vector<float> whole = draw(7, 5000);
  for (const std::size_t size : {0U, 1U, 511U, 512U, 1023U, 1024U, 1025U, 4999U}) {
    std::vector<float> part(size);
    NormalNoise(key_number(7)).fill(part);
    EXPECT_TRUE(std::ranges::equal(part, std::span(whole).first(size))) << size;
  }
  EXPECT_NE(draw(8, 5000), whole);
  std::vector<float> added(5000, 10);
  NormalNoise(key_number(7)).add(0.5F, added);
  for (std::size_t i = 0; i < added.size(); ++i) EXPECT_EQ(added[i], 10 + 0.5F * whole[i]);
}

// Of this key (found by search) group 7 has a pair whose uniform is below 2^-24: place 293, a =
// 112.
TEST(NormalNoise, TakesMoreBitsWhereDigitsRunOut) {
  const math::ChachaKey key = key_number(1560);
  std::array<std::uint32_t, math::kChachaWords> first, second;
  math::chacha20(key, {}, 7 * 64 + 16, first);   // words 256 to 511 of the group
  math::chacha20(key, {}, 7 * 64 + 48, second);  // words 768 to 1023
  ASSERT_EQ(first[293 - 256], 112);
  const std::uint32_t b = second[293 - 256];
  SecretWords more(key, 1 + 7);
  const math::NormalPair pair = math::normal_tail(b, more.next64());
  const std::vector<float> z = draw(1560, 8 * 1024);
  EXPECT_EQ(z[7 * 1024 + 293], pair.cosine);
  EXPECT_EQ(z[7 * 1024 + 512 + 293], pair.sine);
  EXPECT_GT(std::hypot(pair.cosine, pair.sine), 5.76F);  // sqrt(-2 log 2^-24) = 5.768
}

// The first deviates of a key, for ever: a change of these bits is a change of what a run with the
// same secret releases. (The bits are the code's own; that they are normal is tested above.)
TEST(NormalNoise, KeepsItsBits) {
  const std::vector<float> z = draw(9, 1024);
  EXPECT_THAT((std::vector<float>{z[0], z[1], z[511], z[512], z[1023]}),
              testing::ElementsAre(-0x1.9bfe5cp+0F, 0x1.578acep-2F, -0x1.750e8ep-4F, 0x1.acfa62p-1F,
                                   0x1.e82b06p-2F));
}

}  // namespace
}  // namespace sheaf::privacy
