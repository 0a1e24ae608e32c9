// Against figures of jax_privacy's auditing (one run, and its f-DP variant), Clopper-Pearson bounds
// of a published table, and honest mechanisms.
#include "common/privacy/audit/bounds.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "common/base/random.h"
#include "common/privacy/accounting/accountant.h"
#include "common/privacy/audit/audit.h"
#include "common/privacy/audit/binomial.h"

namespace sheaf::privacy {
namespace {

// By summation of the exact terms.
TEST(BinomialTest, TailsAreSumsOfTheirTerms) {
  const auto sum = [](std::uint64_t n, std::uint64_t least, double p) {
    double total = 0;
    for (std::uint64_t k = least; k <= n; ++k) {
      const auto x = static_cast<double>(k), all = static_cast<double>(n);
      total += std::exp(std::lgamma(all + 1) - std::lgamma(x + 1) - std::lgamma(all - x + 1) +
                        x * std::log(p) + (all - x) * std::log1p(-p));
    }
    return total;
  };
  for (const std::uint64_t n : {1U, 10U, 500U}) {
    for (std::uint64_t least = 1; least <= n; least += 1 + n / 7) {
      for (const double p : {0.01, 0.3, 0.5, 0.9}) {
        const double exact = sum(n, least, p);
        EXPECT_NEAR(binomial_tail(n, least, p), exact, 1e-9 * exact + 1e-200) << n << " " << least;
      }
    }
  }
  EXPECT_EQ(binomial_tail(5, 0, 0.1), 1);
  EXPECT_EQ(binomial_tail(5, 6, 0.1), 0);
}

// "Rule of three": nothing found in n trials, 95 %: 1 - 0.05^(1/n), in closed form.
TEST(BinomialTest, TheBoundOfNothingFoundIsThatOfItsClosedForm) {
  EXPECT_NEAR(most_probable(100, 0, 0.05), 1 - std::pow(0.05, 0.01), 1e-12);
  EXPECT_NEAR(most_probable(10, 9, 0.05), std::pow(0.95, 0.1), 1e-12);
  EXPECT_EQ(most_probable(10, 10, 0.05), 1);
}

TEST(OneRunTest, PValueIsThatOfTheReference) {
  EXPECT_NEAR(one_run_p_value({1000, 100, 90}, 1.5, 1e-5), 0.01876458847, 1e-10);
}

TEST(OneRunTest, EpsilonsAtNinetyFivePerCentAreThoseOfTheReference) {
  const auto least = [](const Guesses& guesses) {
    double low = 0, high = 20;
    for (int i = 0; i < 50; ++i) {
      const double middle = (low + high) / 2;
      (one_run_p_value(guesses, middle, 1e-5) < 0.05 ? low : high) = middle;
    }
    return low;
  };
  EXPECT_NEAR(least({1000, 1000, 600}), 0.297227, 1e-5);
  EXPECT_NEAR(least({1000, 100, 100}), 3.465376, 1e-5);
  EXPECT_NEAR(least({5000, 500, 480}), 2.783021, 1e-5);
}

// There the curve is exact, here it is that of points of the accountant, a little below: so the
// bound may be a little lower, and never higher.
TEST(OneRunTest, EpsilonsByTheCurveOfAGaussianAreThoseOfTheReference) {
  const auto least = [](const Guesses& guesses) {
    GaussianSteps step{1, 1, 1};
    double low = 0.05, high = 50;
    for (int i = 0; i < 16; ++i) {
      step.noise = std::sqrt(low * high);
      const TradeOff curve({&step, 1}, Adjacency::add_remove);
      (refuted_in_one_run(guesses, curve, 0.05) ? high : low) = step.noise;
    }
    step.noise = high;
    return epsilon_of({&step, 1}, 1e-5, Adjacency::add_remove, Method::tight).value;
  };
  for (const auto& [guesses, reference] :
       {std::pair{Guesses{1000, 1000, 600}, 0.583541}, std::pair{Guesses{1000, 100, 100}, 5.549028},
        std::pair{Guesses{5000, 500, 480}, 4.062678}}) {
    const double found = least(guesses);
    EXPECT_LE(found, reference * 1.0005);
    EXPECT_GE(found, reference * 0.95);
  }
}

// f of normal noise is Phi(Phi^-1(p) - 1 / noise), in closed form.
TEST(TradeOffTest, LiesBelowTheExactCurveAndNearIt) {
  const GaussianSteps step{1, 1.5, 1};
  const TradeOff curve({&step, 1}, Adjacency::add_remove);
  for (double z = -3; z <= 3; z += 0.25) {
    const auto phi = [](double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; };
    const double exact = phi(z - 1 / 1.5);
    EXPECT_LE(curve.least(phi(z)), exact * (1 + 1e-6) + 1e-9) << z;
    EXPECT_GE(curve.least(phi(z)), exact * 0.9 - 1e-6) << z;
  }
}

// Canaries with a coordinate of their own each, `steps.count` honest steps.
std::vector<CanaryScore> scores_of(const GaussianSteps& steps, double true_noise,
                                   std::size_t canaries, std::uint64_t seed) {
  std::vector<CanaryScore> scores(canaries);
  for (std::size_t i = 0; i < canaries; ++i) {
    Stream random(seed, Purpose::test, i);
    scores[i].in = random.next() % 2 == 0;
    for (std::uint64_t step = 0; step < steps.count; ++step) {
      const bool takes_part = random.uniform_double() < steps.sampling_rate;
      const double seen = (scores[i].in && takes_part ? 1 : 0) + true_noise * random.normal();
      scores[i].score += canary_score(seen, steps.sampling_rate, steps.noise);
    }
  }
  return scores;
}

// Noise of one step by the accountant. The seeds are fixed, so these are facts; for another seed
// the first bound would fail with a chance of 0.001.
TEST(AuditTest, HonestStepsLieBelowTheAccountantAndNotFarBelow) {
  for (const double epsilon : {1.0, 2.0, 4.0, 8.0}) {
    GaussianSteps step{1, 1, 1};
    step.noise = noise_for(epsilon, step, 1e-5, Adjacency::add_remove, Method::tight);
    const AuditBounds bounds = audit_bounds(scores_of(step, step.noise, 100'000, 1), step, 1e-5,
                                            Adjacency::add_remove, 0.999);
    EXPECT_NEAR(bounds.upper, epsilon, 1e-3);
    EXPECT_LE(bounds.lower, bounds.upper);
    EXPECT_GE(bounds.lower, 0.65 * bounds.upper) << epsilon;
    EXPECT_LE(bounds.lower_one_run, bounds.upper);
    EXPECT_GT(bounds.lower_one_run, 0) << epsilon;
  }
}

TEST(AuditTest, SampledStepsTooAndHalfTheNoiseIsFoundOut) {
  const GaussianSteps steps{0.2, 1, 20};
  const auto bounds = [&](double true_noise) {
    return audit_bounds(scores_of(steps, true_noise, 30'000, 2), steps, 1e-5, Adjacency::add_remove,
                        0.999);
  };
  const AuditBounds honest = bounds(1);
  EXPECT_LE(honest.lower, honest.upper);
  EXPECT_GE(honest.lower, 0.5 * honest.upper);
  const AuditBounds half = bounds(0.5);
  EXPECT_GT(half.lower, half.upper);
}

}  // namespace
}  // namespace sheaf::privacy
