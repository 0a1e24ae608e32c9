// Samples against the binomial law that defines them. Secrets are fixed, so a test that passes
// always passes; a correct sampler with another secret would fail each with probability below 1e-6
// or, where chi-square is only nearly normal, a few times that.
#include "worker/data/poisson_sampler.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

namespace sheaf::worker {
namespace {

using testing::ElementsAreArray;
using Places = std::vector<std::uint64_t>;

constexpr double kDeviations = 4.9;  // of a normal variable: 1e-6, both sides

wire::Digest secret(unsigned char first) {
  wire::Digest digest{};
  digest[0] = std::byte{first};
  return digest;
}

Places sample(const PoissonSampler& sampler, Step step, std::uint32_t partition,
              std::uint64_t size) {
  Places places;
  sampler.sample(step, partition, size, places);
  return places;
}

// Chi-square of k degrees of freedom has mean k and variance 2 k.
void expect_chi_square(double found, double degrees) {
  EXPECT_LT(std::abs(found - degrees), kDeviations * std::sqrt(2 * degrees) + 10);
}

void expect_binomial(double found, double trials, double probability) {
  const double deviation = std::sqrt(trials * probability * (1 - probability));
  EXPECT_LT(std::abs(found - trials * probability), kDeviations * deviation);
}

// 0.3 of 1000 over 600 steps of two partitions: how often each example takes part.
TEST(PoissonSampler, EachExampleTakesPartWithItsProbability) {
  constexpr std::uint64_t kSize = 1000, kSteps = 600;
  const PoissonSampler sampler(secret(1), 300, 1000);
  std::vector<double> times(2 * kSize);
  double all = 0;
  for (Step step = 0; step < kSteps; ++step) {
    for (std::uint32_t p = 0; p < 2; ++p) {
      for (const std::uint64_t place : sample(sampler, step, p, kSize)) {
        ++times[p * kSize + place];
        ++all;
      }
    }
  }
  expect_binomial(all, 2 * kSize * kSteps, 0.3);
  double chi_square = 0;
  for (const double n : times) {
    chi_square += (n - 0.3 * kSteps) * (n - 0.3 * kSteps) / (kSteps * 0.3 * 0.7);
  }
  expect_chi_square(chi_square, 2 * kSize);
}

// Sizes of 20,000 samples of 40 examples at 1/8, empty ones included: binomial, 40 and 1/8.
TEST(PoissonSampler, SizesAreBinomial) {
  constexpr int kSteps = 20'000, kSize = 40;
  const PoissonSampler sampler(secret(2), 5, 40);
  std::vector<double> found(kSize + 1);
  for (Step step = 0; step < kSteps; ++step) ++found[sample(sampler, step, 0, kSize).size()];
  double chi_square = 0, bins = 0, rest = 0, expected_of_rest = 0;
  for (int k = 0; k <= kSize; ++k) {
    const double expected =
        kSteps * std::exp(std::lgamma(kSize + 1) - std::lgamma(k + 1) - std::lgamma(kSize - k + 1) +
                          k * std::log(0.125) + (kSize - k) * std::log(0.875));
    if (expected < 10) {
      rest += found[static_cast<std::size_t>(k)];
      expected_of_rest += expected;
      continue;
    }
    const double off = found[static_cast<std::size_t>(k)] - expected;
    chi_square += off * off / expected;
    ++bins;
  }
  chi_square += (rest - expected_of_rest) * (rest - expected_of_rest) / expected_of_rest;
  expect_chi_square(chi_square, bins);
  EXPECT_GT(found[0], 0);  // about 96 of them are empty
}

// Of two independent samples at q an example is in both with probability q^2; whether the same
// place in another step, another partition, or its neighbour.
TEST(PoissonSampler, StepsPartitionsAndNeighboursAreIndependent) {
  constexpr std::uint64_t kSize = 2000;
  constexpr int kSteps = 200;
  const PoissonSampler sampler(secret(3), 1, 5);
  double steps = 0, partitions = 0, neighbours = 0;
  for (Step step = 0; step < kSteps; ++step) {
    const Places here = sample(sampler, step, 4, kSize);
    const std::set<std::uint64_t> set(here.begin(), here.end());
    for (const std::uint64_t i : sample(sampler, step + 1, 4, kSize)) steps += set.contains(i);
    for (const std::uint64_t i : sample(sampler, step, 5, kSize)) partitions += set.contains(i);
    for (const std::uint64_t i : here) neighbours += set.contains(i + 1);
  }
  expect_binomial(steps, kSize * kSteps, 0.04);
  expect_binomial(partitions, kSize * kSteps, 0.04);
  expect_binomial(neighbours, (kSize - 1) * kSteps, 0.04);
}

TEST(PoissonSampler, IsAFunctionOfSecretStepAndPartition) {
  const PoissonSampler one(secret(4), 1, 4), same(secret(4), 1, 4), other(secret(5), 1, 4);
  const Places found = sample(one, 9, 2, 500);
  EXPECT_THAT(sample(same, 9, 2, 500), ElementsAreArray(found));
  EXPECT_NE(sample(other, 9, 2, 500), found);
  EXPECT_NE(sample(one, 10, 2, 500), found);
  EXPECT_NE(sample(one, 9, 3, 500), found);
  EXPECT_TRUE(std::ranges::is_sorted(found));
  EXPECT_LT(found.back(), 500U);
}

TEST(PoissonSampler, TakesAllOfAWholeAndHardlyAnyOfNearlyNothing) {
  const Places all = sample(PoissonSampler(secret(6), 300, 300), 0, 0, 300);
  ASSERT_EQ(all.size(), 300U);
  for (std::uint64_t i = 0; i < 300; ++i) EXPECT_EQ(all[i], i);
  // 100,000 draws at 2^-40: one is taken with probability 1e-7.
  const PoissonSampler rare(secret(7), 1, std::uint64_t{1} << 40);
  EXPECT_THAT(sample(rare, 0, 0, 100'000), testing::IsEmpty());
  EXPECT_THAT(sample(rare, 0, 0, 0), testing::IsEmpty());
}

// Users with 1, 7, 2, 7, … examples, of which 3 take part at most.
constexpr std::uint64_t kMostOfEach = 3;

Places begins_of_users() {
  Places begins = {0};
  for (int i = 0; i < 50; ++i) {
    for (const std::uint64_t examples : {1U, 7U, 2U, 7U})
      begins.push_back(begins.back() + examples);
  }
  return begins;
}

Places sample_users(const PoissonSampler& sampler, Step step, const Places& begins) {
  Places places;
  sampler.sample_users(step, 3, begins, places);
  return places;
}

TEST(PoissonSamplerByUser, TakesUsersAsItTakesExamplesAndNoneOfOthers) {
  const PoissonSampler sampler(secret(8), 1, 4, kMostOfEach);
  const Places begins = begins_of_users();
  for (Step step = 0; step < 200; ++step) {
    const Places users = sample(sampler, step, 3, begins.size() - 1);
    const Places places = sample_users(sampler, step, begins);
    EXPECT_TRUE(std::ranges::is_sorted(places));
    EXPECT_EQ(std::set<std::uint64_t>(places.begin(), places.end()).size(), places.size());
    std::vector<std::uint64_t> found(begins.size() - 1), expected(begins.size() - 1);
    for (const std::uint64_t place : places) {
      ++found[static_cast<std::size_t>(std::ranges::upper_bound(begins, place) - begins.begin()) -
              1];
    }
    for (const std::uint64_t u : users) {
      expected[u] = std::min(kMostOfEach, begins[u + 1] - begins[u]);
    }
    ASSERT_EQ(found, expected) << step;
  }
}

// Each of the 35 sets of 3 out of 7 is as likely as any other, for one user over steps and for
// different users of a step; a user's examples are chosen anew in each step.
TEST(PoissonSamplerByUser, EveryChoiceOfAUsersExamplesIsEquallyLikely) {
  const PoissonSampler sampler(secret(9), 1, 1, kMostOfEach);
  const Places begins = begins_of_users();
  constexpr int kSteps = 700;
  std::map<std::uint64_t, double> sets;
  double again = 0, neighbour = 0;
  std::uint64_t before = 0;
  for (Step step = 0; step < kSteps; ++step) {
    const Places places = sample_users(sampler, step, begins);
    std::uint64_t last = 0;
    for (std::size_t u = 1; u + 1 < begins.size(); u += 2) {
      std::uint64_t set = 0;
      for (const std::uint64_t place : places) {
        if (place >= begins[u] && place < begins[u + 1]) set |= 1U << (place - begins[u]);
      }
      ++sets[set];
      if (u == 1) {
        again += set == before;
        before = set;
      } else if (u == 3) {
        neighbour += set == last;
      }
      last = set;
    }
  }
  ASSERT_EQ(sets.size(), 35U);
  const double expected = kSteps * 100 / 35.0;
  double chi_square = 0;
  for (const auto& [set, n] : sets) chi_square += (n - expected) * (n - expected) / expected;
  expect_chi_square(chi_square, 34);
  expect_binomial(again, kSteps - 1, 1 / 35.0);
  expect_binomial(neighbour, kSteps, 1 / 35.0);
}

TEST(PoissonSamplerByUser, IsAFunctionOfSecretStepAndPartition) {
  const Places begins = begins_of_users();
  const PoissonSampler one(secret(10), 1, 4, kMostOfEach), same(secret(10), 1, 4, kMostOfEach);
  const Places found = sample_users(one, 5, begins);
  EXPECT_EQ(sample_users(same, 5, begins), found);
  EXPECT_NE(sample_users(one, 6, begins), found);
  EXPECT_NE(sample_users(PoissonSampler(secret(11), 1, 4, kMostOfEach), 5, begins), found);
  Places elsewhere;
  one.sample_users(5, 4, begins, elsewhere);
  EXPECT_NE(elsewhere, found);
}

TEST(PoissonSamplerByUser, NobodyMayBeThere) {
  const PoissonSampler sampler(secret(12), 1, 4, kMostOfEach);
  EXPECT_THAT(sample_users(sampler, 0, {0}), testing::IsEmpty());
}

}  // namespace
}  // namespace sheaf::worker
