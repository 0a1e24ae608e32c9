#include "common/privacy/correlated/prefix_factor.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "tests/common/privacy/correlated/dense_factor.h"

namespace sheaf::privacy {
namespace {

std::vector<std::uint32_t> once(std::size_t steps) { return std::vector<std::uint32_t>(steps, 1); }

TEST(PrefixFactorTest, AllBandsTwiceAreTheMatrixOfOnes) {
  constexpr std::size_t kSteps = 64;
  const PrefixFactor factor(kSteps);
  const std::vector<double> c = factor.column(kSteps);
  for (std::size_t t = 0; t < kSteps; ++t) {
    EXPECT_NEAR(factor.inverse()[t], root_coefficient(t), 1e-12);
    double sum = 0;
    for (std::size_t k = 0; k <= t; ++k) sum += c[k] * c[t - k];
    EXPECT_NEAR(sum, 1, 1e-10);
  }
}

TEST(PrefixFactorTest, ColumnIsThatOfTheInverse) {
  constexpr std::size_t kSteps = 40;
  for (const std::size_t bands : {1U, 2U, 5U, 40U, 50U}) {
    const Matrix c = inverse_of(noise_matrix(releases_of({{0, kSteps}}), bands));
    const std::vector<double> column = PrefixFactor(bands).column(kSteps);
    for (std::size_t t = 0; t < kSteps; ++t) {
      EXPECT_NEAR(column[t], c[t][0], 1e-12);
      EXPECT_GE(column[t], 0);
    }
  }
}

// The squared sensitivity times the largest error, of one participation: figures of an independent
// calculation in NumPy.
TEST(PrefixFactorTest, VarianceIsThatOfTheLiterature) {
  for (const auto& [steps, expected] :
       {std::pair(128U, 6.8126), std::pair(1024U, 10.7096), std::pair(4096U, 13.7929)}) {
    const PrefixFactor factor(steps);
    EXPECT_NEAR(factor.squared_sensitivity(steps, once(steps)) * factor.error(steps - 1), expected,
                1e-4)
        << steps;
  }
}

TEST(PrefixFactorTest, ErrorIsThatOfTheDenseMatrix) {
  for (const std::size_t bands : {1U, 4U, 40U}) {
    const Matrix d = noise_matrix(releases_of({{0, 40}}), bands);
    std::vector<double> row(40);  // of A D
    for (std::size_t t = 0; t < 40; ++t) {
      double squares = 0;
      for (std::size_t u = 0; u < 40; ++u) squares += (row[u] += d[t][u]) * row[u];
      EXPECT_NEAR(PrefixFactor(bands).error(t), squares, 1e-10);
    }
  }
}

// Independent noise: each time that an example takes part counts by itself.
TEST(PrefixFactorTest, WithOneBandItIsTheNumberOfParticipations) {
  const PrefixFactor factor(1);
  EXPECT_DOUBLE_EQ(factor.squared_sensitivity(4, once(10)), 3);  // in steps 0, 4, 8
  EXPECT_DOUBLE_EQ(factor.squared_sensitivity(1, once(10)), 10);
  EXPECT_DOUBLE_EQ(factor.squared_sensitivity(20, once(10)), 1);
  std::vector<std::uint32_t> times = once(10);
  times[6] = times[7] = 2;
  EXPECT_DOUBLE_EQ(factor.squared_sensitivity(4, times), 3);  // in steps 2, 6, 6 or 0, 4, 8
  times[6] = 4;
  EXPECT_DOUBLE_EQ(factor.squared_sensitivity(4, times), 5);
}

// Of one example that begins with some step, over all ways to be in a release fully, not at all, or
// fully the other way round: in the releases of one step differently, if it was taken again.
double worst_by_trying(const std::vector<DenseRelease>& releases, std::size_t bands,
                       std::uint64_t period) {
  const Matrix c = inverse_of(noise_matrix(releases, bands));
  double worst = 0;
  for (std::uint64_t first = 0; first < period; ++first) {
    std::vector<std::size_t> places;
    for (std::size_t r = 0; r < releases.size(); ++r) {
      if (releases[r].step >= first && (releases[r].step - first) % period == 0) {
        places.push_back(r);
      }
    }
    std::size_t ways = 1;
    for (std::size_t i = 0; i < places.size(); ++i) ways *= 3;
    for (std::size_t way = 0; way < ways; ++way) {
      std::vector<double> x(releases.size());
      std::size_t rest = way;
      for (const std::size_t place : places) {
        x[place] = static_cast<double>(rest % 3) - 1;
        rest /= 3;
      }
      double squares = 0;
      for (std::size_t t = 0; t < releases.size(); ++t) {
        double sum = 0;
        for (std::size_t u = 0; u <= t; ++u) sum += c[t][u] * x[u];
        squares += sum * sum;
      }
      worst = std::max(worst, squares);
    }
  }
  return worst;
}

TEST(PrefixFactorTest, NobodyWhoTakesPartAsAllowedChangesMore) {
  const std::vector<std::vector<Attempt>> runs = {
      {{0, 9}}, {{0, 7}, {5, 9}}, {{0, 5}, {0, 6}}, {{0, 8}, {3, 5}, {4, 7}}, {{0, 6}, {6, 9}}};
  for (const auto& attempts : runs) {
    const std::vector<DenseRelease> releases = releases_of(attempts);
    std::vector<std::uint32_t> times;
    for (const DenseRelease& release : releases) {
      times.resize(std::max<std::size_t>(times.size(), release.step + 1));
      ++times[release.step];
    }
    for (const std::size_t bands : {1U, 3U, 12U}) {
      for (const std::uint64_t period : {2U, 3U, 4U, 20U}) {
        EXPECT_NEAR(PrefixFactor(bands).squared_sensitivity(period, times),
                    worst_by_trying(releases, bands, period), 1e-10)
            << attempts.size() << " attempts, " << bands << " bands, every " << period;
      }
    }
  }
}

}  // namespace
}  // namespace sheaf::privacy
