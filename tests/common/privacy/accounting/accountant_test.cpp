// Values come from other accountants, from closed forms, or from what any accountant must fulfil.
#include "common/privacy/accounting/accountant.h"

#include <gmock/gmock.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "common/base/error.h"
#include "tests/common/privacy/accounting/reference_rows.h"

namespace sheaf::privacy {
namespace {

constexpr auto kAddRemove = Adjacency::add_remove;
constexpr auto kReplaceOne = Adjacency::replace_one;

double tight(const GaussianSteps& steps, double delta, Adjacency adjacency = kAddRemove) {
  return epsilon_of({&steps, 1}, delta, adjacency, Method::tight).value;
}

// delta of one normal release whose deviation is `noise` times its sensitivity (Balle and Wang,
// "Improving the Gaussian mechanism", 2018, theorem 8).
double gaussian_delta(double noise, double epsilon) {
  const auto normal = [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); };
  const double half = 1 / (2 * noise);
  return normal(half - epsilon * noise) - std::exp(epsilon) * normal(-half - epsilon * noise);
}

TEST(Accountant, AgreesWithTheTightReference) {
  for (const ReferenceRow& row : kReference) {
    const Epsilon found = epsilon_of({&row.steps, 1}, row.delta, kAddRemove, Method::tight);
    EXPECT_NEAR(found.value, row.tight, row.name == 'N' ? 1e-7 : 1e-9) << row.name;
    EXPECT_LT(found.error, 1e-9) << row.name;
    EXPECT_EQ(found.accountant, "contour") << row.name;
    EXPECT_LT(found.value, row.grid) << row.name << ": an upper bound of another program";
  }
}

TEST(Accountant, AgreesWithTheRenyiReference) {
  for (const ReferenceRow& row : kReference) {
    const Epsilon found = epsilon_of({&row.steps, 1}, row.delta, kAddRemove, Method::renyi);
    EXPECT_NEAR(found.value, row.renyi, 1e-8) << row.name;
    EXPECT_DOUBLE_EQ(found.order.value(), row.order) << row.name;
    EXPECT_EQ(found.accountant, "rdp") << row.name;
  }
}

TEST(Accountant, AgreesWithTheClosedFormOfOneRelease) {
  // sigma(1, 1e-5) and sigma(8, 1e-5) of the analytic Gaussian mechanism, and two epsilons.
  EXPECT_NEAR(tight({1, 3.7306316348, 1}, 1e-5), 1, 1e-9);
  EXPECT_NEAR(tight({1, 0.6002290722, 1}, 1e-5), 8, 1e-8);
  EXPECT_NEAR(tight({1, 2, 1}, 1e-5), 1.9930914044, 1e-9);
  EXPECT_NEAR(tight({1, 10, 1}, 1e-6), 0.3968573776, 1e-9);
  for (const double noise : {0.3, 1.0, 7.0, 300.0}) {
    for (const double epsilon : {0.01, 0.5, 3.0}) {
      const double delta = gaussian_delta(noise, epsilon);
      if (delta < 1e-200) continue;
      EXPECT_NEAR(tight({1, noise, 1}, delta), epsilon, 1e-9) << noise << " " << epsilon;
      // Another unit moves the mean by twice the norm.
      EXPECT_NEAR(tight({1, 2 * noise, 1}, delta, kReplaceOne), epsilon, 1e-9);
    }
  }
}

TEST(Accountant, AgreesWithGooglesDelta) {
  // dp_accounting's pld_privacy_accountant_test: delta at epsilon 1, to the digits given there.
  EXPECT_NEAR(tight({1, std::numbers::sqrt3, 3}, 0.126936), 1, 1e-5);
  EXPECT_NEAR(tight({0.2, 0.5, 3}, 0.15594), 1, 1e-4);
}

// One step in closed form: delta = P(loss > epsilon) - e^epsilon Q(loss > epsilon), with the loss
// above epsilon where x is above a threshold.
TEST(Accountant, AgreesWithTheClosedFormOfOneSampledStep) {
  const auto tail = [](double x) { return 0.5 * std::erfc(x / std::numbers::sqrt2); };
  for (const double q : {0.3, 0.01, 1e-3}) {
    const double noise = 0.9, epsilon = 0.2;
    const double x = noise * noise * std::log((std::exp(epsilon) - 1 + q) / q) +
                     0.5;  // where the loss is epsilon
    const double p = (1 - q) * tail(x / noise) + q * tail((x - 1) / noise);
    const double delta = p - std::exp(epsilon) * tail(x / noise);
    const GaussianSteps step{q, noise, 1};
    const Epsilon found = epsilon_of({&step, 1}, delta, kAddRemove, Method::tight);
    EXPECT_NEAR(found.value, epsilon, 1e-6) << q;
    EXPECT_LE(epsilon, found.value + found.error) << q << ": an upper bound";
    EXPECT_GE(epsilon, found.value - found.error) << q;
  }
}

TEST(Accountant, TwoHalvesAreTheWhole) {
  for (const Method method : {Method::tight, Method::renyi}) {
    for (const Adjacency adjacency : {kAddRemove, kReplaceOne}) {
      const GaussianSteps whole{0.01, 1, 4000};
      const std::vector<GaussianSteps> halves = {
          {0.01, 1, 1000}, {0.01, 1, 0}, {0.01, 1, 2999}, {0.01, 1, 1}};
      EXPECT_NEAR(epsilon_of(halves, 1e-5, adjacency, method).value,
                  epsilon_of({&whole, 1}, 1e-5, adjacency, method).value, 1e-9);
    }
  }
}

TEST(Accountant, StepsOfDifferentKindsAddUp) {
  // Without sampling, squares of 1 / noise add: 9 steps at 5 and 16 at 10 are one with noise
  // 1 / sqrt(9 / 25 + 16 / 100).
  const std::vector<GaussianSteps> mixed = {{1, 5, 9}, {1, 10, 16}};
  EXPECT_NEAR(epsilon_of(mixed, 1e-6, kAddRemove, Method::tight).value,
              tight({1, 1 / std::sqrt(0.52), 1}, 1e-6), 1e-9);
  // Of sampled kinds: more than either alone, less than all of the worse kind.
  const std::vector<GaussianSteps> sampled = {{0.01, 1, 2000}, {0.02, 1.5, 1000}};
  const double both = epsilon_of(sampled, 1e-5, kAddRemove, Method::tight).value;
  EXPECT_GT(both, tight(sampled[0], 1e-5));
  EXPECT_GT(both, tight(sampled[1], 1e-5));
  EXPECT_LT(both, tight({0.02, 1, 3000}, 1e-5));
}

TEST(Accountant, ReleasesWithoutSamplingAreOneWithLessNoise) {
  for (const double k : {4.0, 100.0, 10000.0}) {
    EXPECT_NEAR(tight({1, 20, static_cast<std::uint64_t>(k)}, 1e-5),
                tight({1, 20 / std::sqrt(k), 1}, 1e-5), 1e-8);
  }
}

TEST(Accountant, EpsilonFollowsItsArguments) {
  const GaussianSteps base{0.02, 1.2, 500};
  for (const Adjacency adjacency : {kAddRemove, kReplaceOne}) {
    const double epsilon = tight(base, 1e-5, adjacency);
    EXPECT_GT(tight({0.021, 1.2, 500}, 1e-5, adjacency), epsilon);
    EXPECT_LT(tight({0.02, 1.21, 500}, 1e-5, adjacency), epsilon);
    EXPECT_GT(tight({0.02, 1.2, 501}, 1e-5, adjacency), epsilon);
    EXPECT_GT(tight(base, 0.99e-5, adjacency), epsilon);
  }
  EXPECT_EQ(tight({0.001, 5, 1}, 0.5), 0);  // nothing to be seen
}

TEST(Accountant, TightIsBelowRenyi) {
  for (const ReferenceRow& row : kReference) {
    for (const Adjacency adjacency : {kAddRemove, kReplaceOne}) {
      EXPECT_LT(tight(row.steps, row.delta, adjacency),
                epsilon_of({&row.steps, 1}, row.delta, adjacency, Method::renyi).value)
          << row.name;
    }
  }
}

// A unit that is another one is removed and another one added: at least as bad as either, and by
// the definition of (epsilon, delta) at most e1 + e2 at d1 + e^e1 d2.
TEST(Accountant, ReplacingOneLiesBetweenOneAndTwoChanges) {
  for (const ReferenceRow& row : kReference) {
    const double one = tight(row.steps, row.delta);
    EXPECT_GT(tight(row.steps, row.delta, kReplaceOne), one) << row.name;
    const double two_deltas = row.delta * (1 + std::exp(one));
    if (two_deltas > 0.1) continue;
    EXPECT_LT(tight(row.steps, two_deltas, kReplaceOne), 2 * one) << row.name;
  }
}

TEST(Accountant, FindsTheNoise) {
  const auto noise = [](double batch, std::uint64_t steps, double epsilon, Method method) {
    return noise_for(epsilon, {batch / 60000, 1, steps}, 1e-5, kAddRemove, method);
  };
  EXPECT_NEAR(noise(2048, 1171, 3, Method::tight), 1.8076, 1e-4);
  EXPECT_NEAR(noise(512, 4687, 3, Method::tight), 1.0681, 1e-4);
  EXPECT_NEAR(noise(256, 3515, 1, Method::tight), 1.1850, 1e-4);
  EXPECT_NEAR(noise(2048, 1171, 3, Method::renyi), 1.9280, 1e-4);
  EXPECT_NEAR(noise(512, 4687, 3, Method::renyi), 1.1234, 1e-4);
  EXPECT_NEAR(noise(256, 3515, 1, Method::renyi), 1.2630, 1e-4);
}

TEST(Accountant, TheNoiseFoundKeepsTheBudgetAndALittleLessDoesNot) {
  for (const Adjacency adjacency : {kAddRemove, kReplaceOne}) {
    for (const double epsilon : {0.3, 2.0, 20.0}) {
      GaussianSteps steps{0.01, 1, 300};
      steps.noise = noise_for(epsilon, steps, 1e-6, adjacency, Method::tight);
      const Epsilon kept = epsilon_of({&steps, 1}, 1e-6, adjacency, Method::tight);
      EXPECT_LE(kept.value + kept.error, epsilon);
      steps.noise -= 3e-6;
      EXPECT_GT(tight(steps, 1e-6, adjacency), epsilon);
    }
  }
}

TEST(Accountant, RefusesWhatMakesNoSense) {
  const auto faulty = [](const GaussianSteps& steps, double delta) {
    try {
      epsilon_of({&steps, 1}, delta, kAddRemove, Method::tight);
    } catch (const Error& error) {
      return error.fault() == Fault::config;
    }
    return false;
  };
  EXPECT_TRUE(faulty({0, 1, 1}, 1e-5));
  EXPECT_TRUE(faulty({1.01, 1, 1}, 1e-5));
  EXPECT_TRUE(faulty({NAN, 1, 1}, 1e-5));
  EXPECT_TRUE(faulty({0.5, 0, 1}, 1e-5));
  EXPECT_TRUE(faulty({0.5, INFINITY, 1}, 1e-5));
  EXPECT_TRUE(faulty({0.5, 1, 0}, 1e-5));
  EXPECT_TRUE(faulty({0.5, 1, 2'000'000'000}, 1e-5));
  EXPECT_TRUE(faulty({0.5, 1, 1}, 0));
  EXPECT_TRUE(faulty({0.5, 1, 1}, 1));
  EXPECT_TRUE(faulty({0.5, 1, 1}, NAN));
  EXPECT_THROW(noise_for(0, {0.5, 1, 1}, 1e-5, kAddRemove, Method::tight), Error);
  // Orders up to 63 alone reach no epsilon below 0.103 at this delta.
  EXPECT_THROW(noise_for(0.05, {1, 1, 1}, 1e-5, kAddRemove, Method::renyi), Error);
}

// The whole range of settings: the answer is a number, and a bound of another kind is above it.
TEST(Accountant, AnswersForEverySetting) {
  for (const double q : {1e-6, 0.3, 0.999}) {
    for (const double noise : {0.2, 30.0}) {
      for (const std::uint64_t count : {1UL, 30UL, 1'000'000'000UL}) {
        for (const double delta : {1e-12, 0.1}) {
          const GaussianSteps steps{q, noise, count};
          const Epsilon found = epsilon_of({&steps, 1}, delta, kAddRemove, Method::tight);
          const double renyi = epsilon_of({&steps, 1}, delta, kAddRemove, Method::renyi).value;
          EXPECT_TRUE(std::isfinite(found.value) && found.value >= 0)
              << q << " " << noise << " " << count << " " << delta;
          EXPECT_LE(found.value - found.error, renyi * (1 + 1e-9) + 1e-9)
              << q << " " << noise << " " << count << " " << delta << " " << found.accountant;
        }
      }
    }
  }
}

}  // namespace
}  // namespace sheaf::privacy
