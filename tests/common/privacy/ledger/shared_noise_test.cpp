// Ledgers of jobs whose steps share noise. With one band the noise of steps is independent, so that
// what they come to is known: k times that an example takes part cost as one with noise / sqrt(k).
#include <gmock/gmock.h>

#include <cmath>
#include <stdexcept>

#include "common/base/error.h"
#include "common/privacy/correlated/prefix_factor.h"
#include "common/privacy/ledger/ledger_file.h"
#include "common/privacy/ledger/spent.h"
#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/common/privacy/ledger/sample_terms.h"

namespace sheaf::privacy {
namespace {

const std::filesystem::path kShared = "/run/ledger.jsonl";

LedgerTerms shared_terms(std::size_t bands, Step first, char branch) {
  LedgerTerms terms = sample_terms();
  terms.sampling = Sampling::cyclic;
  terms.adjacency = Adjacency::replace_one;
  terms.steps_per_epoch = 4;
  terms.noise = 6;
  terms.bands = bands;
  terms.branch = {first, std::string(32, branch)};
  return terms;
}

void take_steps(Ledger& ledger, Step from, Step end) {
  for (Step step = from; step < end; ++step) {
    ledger.open({step});
    ledger.done({step, 0, sample_digest(step)});
  }
}

double noise_of(const Ledger& ledger) {
  const auto history = ledger.history(0);
  EXPECT_EQ(history.size(), 1U);
  EXPECT_EQ(history.at(0).sampling_rate, 1);
  EXPECT_EQ(history.at(0).count, 1U);
  return history.at(0).noise;
}

std::vector<NoiseBranch> way(const Ledger& ledger) {
  return {ledger.branches().begin(), ledger.branches().end()};
}

// What is opened counts for what comes: the last step is the one before epsilon would be passed.
TEST(SharedNoiseLedgerTest, ABudgetReachesAsFarAsTheNextStepFits) {
  for (const Step most : {7U, 1000U}) {
    Ledger ledger;
    ledger.begin(shared_terms(3, 0, 'a'));
    constexpr double kEpsilon = 4;
    Budget budget(kEpsilon, most);
    Step step = 0;
    for (OpenRow next{0}; budget.take(ledger, {&next, 1}); next = {step}) {
      take_steps(ledger, step, step + 1);
      ++step;
    }
    EXPECT_GT(step, 10U);
    const Spent all = spent(ledger, Method::tight);
    EXPECT_LE(all.epsilon.value + all.epsilon.error, kEpsilon);
    const OpenRow next{step};
    EXPECT_GT(epsilon_with(ledger, {&next, 1}), kEpsilon);
  }
}

TEST(SharedNoiseLedgerTest, AllStepsAreOneRelease) {
  Ledger ledger;
  ledger.begin(shared_terms(1, 0, 'a'));
  EXPECT_TRUE(ledger.history(0).empty());
  take_steps(ledger, 0, 9);  // steps 0, 4, 8
  ledger.open({9});
  EXPECT_DOUBLE_EQ(noise_of(ledger), 6 / std::sqrt(3.0));
  EXPECT_EQ(ledger.steps(0), 10U);
  EXPECT_EQ(ledger.releases(0), 10U);
}

// Whatever their digests: what is taken again has white noise of its own, and is another release.
TEST(SharedNoiseLedgerTest, StepsThatAreTakenAgainCountAgain) {
  Ledger ledger;
  ledger.begin(shared_terms(1, 0, 'a'));
  take_steps(ledger, 0, 7);
  ledger.begin(shared_terms(1, 5, 'b'));
  take_steps(ledger, 5, 10);  // an example is in steps 1, 5, 5, 9
  EXPECT_DOUBLE_EQ(noise_of(ledger), 6 / std::sqrt(4.0));
  EXPECT_EQ(ledger.steps(0), 10U);
  EXPECT_EQ(ledger.releases(0), 12U);
  ledger.begin(shared_terms(1, 9, 'c'));
  ledger.open({9});  // 1, 5, 5, 9, 9
  EXPECT_DOUBLE_EQ(noise_of(ledger), 6 / std::sqrt(5.0));
}

// Of one normal variable whose mean is moved by twice the sensitivity.
TEST(SharedNoiseLedgerTest, EpsilonIsThatOfItsSensitivity) {
  Ledger ledger;
  ledger.begin(shared_terms(3, 0, 'a'));
  take_steps(ledger, 0, 50);
  const std::vector<std::uint32_t> once(50, 1);
  const double sensitivity = std::sqrt(PrefixFactor(3).squared_sensitivity(4, once));
  const GaussianSteps one{1, 6 / (2 * sensitivity), 1};
  EXPECT_NEAR(spent(ledger, Method::tight).epsilon.value,
              epsilon_of({&one, 1}, 1e-5, Adjacency::add_remove, Method::tight).value, 1e-8);
}

// Of the steps of the newest attempt those that it has not taken again go the way of older ones.
TEST(SharedNoiseLedgerTest, BranchesAreTheWayToTheNextStep) {
  Ledger ledger;
  ledger.begin(shared_terms(3, 0, 'a'));
  take_steps(ledger, 0, 7);
  ledger.begin(shared_terms(3, 5, 'b'));
  take_steps(ledger, 5, 8);
  ledger.begin(shared_terms(3, 8, 'c'));
  const std::string a(32, 'a'), b(32, 'b'), c(32, 'c'), d(32, 'd');
  EXPECT_THAT(way(ledger),
              testing::ElementsAre(NoiseBranch{0, a}, NoiseBranch{5, b}, NoiseBranch{8, c}));
  ledger.begin(shared_terms(3, 3, 'd'));
  EXPECT_THAT(way(ledger), testing::ElementsAre(NoiseBranch{0, a}, NoiseBranch{3, d}));
}

TEST(SharedNoiseLedgerTest, WhatCannotBeAccountedForIsRefused) {
  Ledger ledger;
  ledger.begin(shared_terms(3, 0, 'a'));
  EXPECT_THROW(ledger.open({1}), std::invalid_argument) << "step 0 is missing";
  take_steps(ledger, 0, 5);
  EXPECT_THROW(ledger.open({4}), std::invalid_argument) << "again, with the same white noise";
  const auto refused = [&](auto change) {
    LedgerTerms terms = shared_terms(3, 5, 'b');
    change(terms);
    EXPECT_THROW(ledger.begin(terms), std::exception);
  };
  refused([](LedgerTerms& t) { t.noise = 7; });
  refused([](LedgerTerms& t) { t.clip = 2; });
  refused([](LedgerTerms& t) { t.bands = 4; });
  refused([](LedgerTerms& t) { t.noise_secret[0] = 'a'; });
  refused([](LedgerTerms& t) { t.sampling_secret[0] = 'a'; });
  refused([](LedgerTerms& t) { t.branch.first = 6; });
  refused([](LedgerTerms& t) { t.branch.name = std::string(32, 'a'); });
  refused([](LedgerTerms& t) {
    t.bands = 0;
    t.sampling = Sampling::shuffle;
  });
  refused([](LedgerTerms& t) { t.where = NoisePlace::local; });
  refused([](LedgerTerms& t) { t.sampling = Sampling::shuffle; });
  refused([](LedgerTerms& t) { t.adjacency = Adjacency::add_remove; });
  ledger.begin(shared_terms(3, 5, 'b'));
  ledger.open({5});
}

// What a run of 20 steps costs is enough for them and for none more; a replay leaves fewer.
TEST(SharedNoiseLedgerTest, ABudgetOpensAsManyStepsAsFit) {
  Ledger all;
  all.begin(shared_terms(2, 0, 'a'));
  take_steps(all, 0, 20);
  const double budget_for_20 = epsilon_with(all, {}) + 1e-9;
  const auto end = [&](Ledger& ledger, Step from, Step stop) {
    Budget budget(budget_for_20, 1000);
    for (Step step = from; step < stop; ++step) {
      const OpenRow next{step};
      if (!budget.take(ledger, {&next, 1})) return step;
      take_steps(ledger, step, step + 1);
    }
    return stop;
  };
  Ledger ledger;
  ledger.begin(shared_terms(2, 0, 'a'));
  EXPECT_EQ(end(ledger, 0, 100), 20U);
  Ledger again;
  again.begin(shared_terms(2, 0, 'a'));
  EXPECT_EQ(end(again, 0, 9), 9U);
  again.begin(shared_terms(2, 6, 'b'));
  const Step stopped = end(again, 6, 100);
  EXPECT_LT(stopped, 20U);
  const Spent cost = spent(again, Method::tight);
  EXPECT_LE(cost.epsilon.value + cost.epsilon.error, budget_for_20);
  const OpenRow next{stopped};
  EXPECT_GT(epsilon_with(again, {&next, 1}), budget_for_20)
      << "it stopped no earlier than it had to";
}

TEST(SharedNoiseLedgerTest, ItsFileIsReadAsItWasWritten) {
  checkpoint::VirtualDisk disk;
  const auto run = [&](const LedgerTerms& terms, Step from, Step end) {
    LedgerFile file(disk, kShared, terms);
    for (Step step = from; step < end; ++step) {
      const OpenRow open{step};
      const DoneRow done{step, 0, sample_digest(step)};
      file.commit({}, {&open, 1});
      file.commit({&done, 1}, {});
    }
  };
  run(shared_terms(3, 0, 'a'), 0, 7);
  run(shared_terms(3, 5, 'b'), 5, 9);
  const LedgerReading reading = read_ledger(disk, kShared);
  EXPECT_EQ(reading.ledger.terms(), shared_terms(3, 5, 'b'));
  EXPECT_EQ(reading.ledger.branches().size(), 2U);
  EXPECT_EQ(reading.ledger.releases(0), 11U);
}

// A torn line counts as the step that would have come next on that way.
TEST(SharedNoiseLedgerTest, ATornLineCountsAsAnOpenStep) {
  checkpoint::VirtualDisk disk;
  {
    LedgerFile file(disk, kShared, shared_terms(1, 0, 'a'));
    for (Step step = 0; step < 8; ++step) {
      const OpenRow open{step};
      const DoneRow done{step, 0, sample_digest(step)};
      file.commit({}, {&open, 1});
      file.commit({&done, 1}, {});
    }
    LedgerFile again(disk, kShared, shared_terms(1, 4, 'b'));
    const OpenRow open{4};
    again.commit({}, {&open, 1});
  }
  auto& bytes = disk.bytes(kShared);
  bytes.resize(bytes.size() - 5);
  const LedgerReading reading = read_ledger(disk, kShared);
  EXPECT_TRUE(reading.cut);
  EXPECT_EQ(reading.ledger.releases(0), 9U);
  EXPECT_DOUBLE_EQ(noise_of(reading.ledger), 6 / std::sqrt(3.0));  // steps 0, 4, 4
  LedgerFile file(disk, kShared, shared_terms(1, 4, 'c'));
  const OpenRow open{4};
  file.commit({}, {&open, 1});
  EXPECT_DOUBLE_EQ(noise_of(file.ledger()), 6 / std::sqrt(4.0));
}

}  // namespace
}  // namespace sheaf::privacy
