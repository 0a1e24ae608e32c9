// What counts as a release, against the rules of ledger.h taken by hand; epsilons against the rows
// of tests/common/privacy/accounting/reference_rows.h (independent programs).
#include "common/privacy/ledger/ledger.h"

#include <gmock/gmock.h>

#include <cmath>
#include <stdexcept>

#include "common/base/error.h"
#include "common/privacy/ledger/spent.h"
#include "tests/common/privacy/ledger/sample_terms.h"

namespace sheaf::privacy {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

Ledger begun(const LedgerTerms& terms) {
  Ledger ledger;
  ledger.begin(terms);
  return ledger;
}

void take(Ledger& ledger, Step step, std::uint64_t value, std::uint32_t partition = 0) {
  ledger.open({step, partition});
  ledger.done({step, partition, sample_digest(value)});
}

TEST(LedgerTest, AStepThatIsDoneIsOneReleaseAndSoIsOneThatIsOnlyOpen) {
  Ledger ledger = begun(sample_terms());
  for (Step step = 0; step < 10; ++step) take(ledger, step, 100 + step);
  ledger.open({10});
  const auto history = ledger.history(0);
  ASSERT_THAT(history, SizeIs(1));
  EXPECT_EQ(history[0].count, 11U);
  EXPECT_EQ(history[0].noise, 1);
  EXPECT_EQ(history[0].sampling_rate, 0.01);
  EXPECT_EQ(ledger.steps(0), 11U);
  EXPECT_EQ(ledger.releases(0), 11U);
}

TEST(LedgerTest, TheSameReleaseAgainIsFreeAndAnotherOneIsOneStepWithLessNoise) {
  Ledger ledger = begun(sample_terms());
  take(ledger, 5, 1);
  EXPECT_TRUE(ledger.has({5, 0, sample_digest(1)}));
  EXPECT_FALSE(ledger.has({5, 0, sample_digest(2)}));
  EXPECT_FALSE(ledger.has({6, 0, sample_digest(1)}));
  take(ledger, 5, 1);
  EXPECT_EQ(ledger.releases(0), 1U);
  take(ledger, 5, 2);
  take(ledger, 5, 3);
  take(ledger, 5, 2);
  EXPECT_EQ(ledger.releases(0), 3U);
  const auto history = ledger.history(0);
  ASSERT_THAT(history, SizeIs(1));
  EXPECT_EQ(history[0].count, 1U);
  EXPECT_DOUBLE_EQ(history[0].noise, 1 / std::sqrt(3.0));
}

TEST(LedgerTest, AStepThatACrashLeftOpenStaysChargedBesidesItsReplay) {
  Ledger ledger = begun(sample_terms());
  ledger.open({7});
  ledger.begin(sample_terms());
  EXPECT_THROW(ledger.done({7, 0, sample_digest(1)}), std::invalid_argument);
  take(ledger, 7, 1);
  EXPECT_EQ(ledger.steps(0), 1U);
  EXPECT_EQ(ledger.releases(0), 2U);
  EXPECT_DOUBLE_EQ(ledger.history(0).at(0).noise, 1 / std::sqrt(2.0));
}

TEST(LedgerTest, WithAnotherSamplingSecretAStepIsAnotherStep) {
  Ledger ledger = begun(sample_terms());
  take(ledger, 3, 1);
  LedgerTerms other = sample_terms();
  other.sampling_secret = std::string(32, 'a');
  ledger.begin(other);
  EXPECT_FALSE(ledger.has({3, 0, sample_digest(1)}));
  EXPECT_FALSE(ledger.knows(3, 0));
  take(ledger, 3, 1);
  const auto history = ledger.history(0);
  ASSERT_THAT(history, SizeIs(1));
  EXPECT_EQ(history[0].count, 2U);
  EXPECT_EQ(history[0].noise, 1);
}

TEST(LedgerTest, OtherNoiseAndRateOfTheSameStepAddUpAsTheyShould) {
  Ledger ledger = begun(sample_terms());
  take(ledger, 3, 1);
  LedgerTerms other = sample_terms();
  other.noise = 2;
  other.sampling_rate = 0.02;
  ledger.begin(other);
  take(ledger, 3, 2);
  const auto history = ledger.history(0);
  ASSERT_THAT(history, SizeIs(1));
  EXPECT_EQ(history[0].sampling_rate, 0.02);
  EXPECT_DOUBLE_EQ(history[0].noise, 1 / std::sqrt(1 + 0.25));
}

// The same values with other noise: that they are the same depends on who is there.
TEST(LedgerTest, TheSameDigestWithOtherNoiseIsAnotherRelease) {
  Ledger ledger = begun(sample_terms());
  take(ledger, 90, 1);
  LedgerTerms other = sample_terms();
  other.noise = 2;
  ledger.begin(other);
  EXPECT_FALSE(ledger.has({90, 0, sample_digest(1)}));
  take(ledger, 90, 1);
  take(ledger, 90, 1);
  EXPECT_EQ(ledger.releases(0), 2U);
  const auto history = ledger.history(0);
  ASSERT_THAT(history, SizeIs(1));
  EXPECT_DOUBLE_EQ(history[0].noise, 1 / std::sqrt(1 + 0.25));
  ledger.begin(sample_terms());
  take(ledger, 90, 1);
  EXPECT_EQ(ledger.releases(0), 2U) << "with the first noise it is there already";
}

TEST(LedgerTest, WhereNoiseIsLocalThePartitionThatReleasedMostCounts) {
  Ledger ledger = begun(sample_terms(NoisePlace::local, 3));
  for (Step step = 0; step < 20; ++step) take(ledger, step, step, 0);
  for (Step step = 0; step < 30; ++step) take(ledger, step, step, 1);
  EXPECT_EQ(ledger.accounts(), 3U);
  EXPECT_THAT(ledger.history(2), IsEmpty());
  const Spent all = spent(ledger, Method::tight);
  EXPECT_EQ(all.account, 1U);
  EXPECT_EQ(all.steps, 30U);
  const GaussianSteps thirty{0.01, 1, 30};
  EXPECT_EQ(all.epsilon.value,
            epsilon_of({&thirty, 1}, 1e-5, Adjacency::add_remove, Method::tight).value);
  EXPECT_THROW(ledger.open({0, 3}), std::invalid_argument);
}

TEST(LedgerTest, ShuffledBatchesCostAStepOfEachEpochWithoutAmplification) {
  LedgerTerms terms = sample_terms();
  terms.sampling = Sampling::shuffle;
  terms.adjacency = Adjacency::replace_one;
  terms.steps_per_epoch = 10;
  Ledger ledger = begun(terms);
  for (Step step = 0; step < 25; ++step) take(ledger, step, step);
  take(ledger, 4, 100);  // twice: in its epoch that is the step that tells most
  const auto history = ledger.history(0);
  ASSERT_THAT(history, SizeIs(2));
  EXPECT_EQ(history[0].count, 2U);
  EXPECT_EQ(history[0].noise, 1);
  EXPECT_EQ(history[0].sampling_rate, 1);
  EXPECT_EQ(history[1].count, 1U);
  EXPECT_DOUBLE_EQ(history[1].noise, 1 / std::sqrt(2.0));
}

// Row G of the reference: 4000 steps, rate 0.01, noise 1, delta 1e-5.
TEST(SpentTest, IsTheEpsilonOfTheReference) {
  Ledger ledger = begun(sample_terms());
  EXPECT_EQ(spent(ledger, Method::tight).epsilon.value, 0);
  for (Step step = 0; step < 4000; ++step) take(ledger, step, step);
  EXPECT_NEAR(spent(ledger, Method::tight).epsilon.value, 3.7224739327, 1e-7);
  EXPECT_NEAR(spent(ledger, Method::renyi).epsilon.value, 4.0764425168, 1e-8);
}

TEST(BudgetTest, OpensAsManyStepsAsFitAndNoneMore) {
  Ledger ledger = begun(sample_terms());
  // What 4000 steps cost, by the reference, is enough for them and not for one more.
  Budget budget(3.7224739327 + 1e-7, 1500);
  Step step = 0;
  while (step < 5000) {
    const OpenRow next{step};
    if (!budget.take(ledger, {&next, 1})) break;
    take(ledger, step, step);
    ++step;
  }
  EXPECT_EQ(step, 4000U);
}

// Steps of one epoch cost what one does. Whatever was released before, no step passes epsilon, and
// the one that is refused would.
TEST(BudgetTest, ShuffledStepsAreTakenByTheEpoch) {
  constexpr double kEpsilon = 8;
  LedgerTerms terms = sample_terms();
  terms.sampling = Sampling::shuffle;
  terms.adjacency = Adjacency::replace_one;
  terms.steps_per_epoch = 10;
  terms.noise = 10;
  LedgerTerms other_secret = terms, less_noise = terms;
  other_secret.sampling_secret = std::string(32, 'a');
  less_noise.noise = 6;
  for (const LedgerTerms& later : {terms, other_secret, less_noise}) {
    Ledger ledger = begun(terms);
    Step step = 0;
    for (; step < 15; ++step) take(ledger, step, step);
    ledger.begin(later);  // in the middle of an epoch
    Budget budget(kEpsilon, 1000);
    for (OpenRow next{step}; budget.take(ledger, {&next, 1}); next = {step}) {
      take(ledger, step, step);
      ++step;
    }
    EXPECT_GT(step, 20U);
    EXPECT_EQ(step % 10, 0U) << "an epoch that was begun is paid";
    const Spent all = spent(ledger, Method::tight);
    EXPECT_LE(all.epsilon.value + all.epsilon.error, kEpsilon);
    const OpenRow next{step};
    EXPECT_GT(epsilon_with(ledger, {&next, 1}), kEpsilon);
  }
}

TEST(BudgetTest, AReplayThatDiffersLeavesFewerSteps) {
  LedgerTerms terms = sample_terms();
  terms.sampling_rate = 0.1;
  terms.noise = 2;
  Ledger ledger = begun(terms);
  constexpr double kEpsilon = 3;
  Budget budget(kEpsilon, 10'000);
  const auto opens = [&](Step step) {
    const OpenRow next{step};
    if (!budget.take(ledger, {&next, 1})) return false;
    take(ledger, step, ledger.releases(0) + 1000);  // never the same
    return true;
  };
  ASSERT_TRUE(opens(0));
  const std::uint64_t fit = steps_within(ledger, kEpsilon, 10'000);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(opens(0));
  EXPECT_LT(steps_within(ledger, kEpsilon, 10'000), fit);
  Step step = 1;
  while (opens(step)) ++step;
  const Spent all = spent(ledger, Method::tight);
  EXPECT_LE(all.epsilon.value + all.epsilon.error, kEpsilon);
  const OpenRow next{step};
  EXPECT_GT(epsilon_with(ledger, {&next, 1}), kEpsilon) << "it stopped no earlier than it had to";
}

TEST(LedgerTest, TermsThatMakeNoSenseAreRefused) {
  const auto refused = [](auto change) {
    LedgerTerms terms = sample_terms();
    change(terms);
    EXPECT_THROW(begun(terms), Error);
  };
  refused([](LedgerTerms& t) { t.delta = 1e-4; });  // 1 / examples
  refused([](LedgerTerms& t) { t.noise = 0; });
  refused([](LedgerTerms& t) { t.sampling_rate = 1.5; });
  refused([](LedgerTerms& t) { t.clip = -1; });
  refused([](LedgerTerms& t) { t.unit = Unit::column; });
  refused([](LedgerTerms& t) { t.sampling = Sampling::shuffle; });
  const auto refused_of_users = [](auto change) {
    LedgerTerms terms = terms_of_users();
    change(terms);
    EXPECT_THROW(begun(terms), Error);
  };
  refused_of_users([](LedgerTerms& t) { t.delta = 1e-3; });  // 1 / users
  refused_of_users([](LedgerTerms& t) { t.users = 0; });
  refused_of_users([](LedgerTerms& t) { t.examples_per_user = 0; });
  refused_of_users([](LedgerTerms& t) {
    t.sampling = Sampling::shuffle;
    t.adjacency = Adjacency::replace_one;
    t.steps_per_epoch = 10;
  });
  Ledger ledger = begun(sample_terms());
  EXPECT_THROW(ledger.begin(sample_terms(NoisePlace::local, 1)), Error);
  EXPECT_THROW(ledger.begin(sample_terms(NoisePlace::central, 2)), Error);
  EXPECT_THROW(Ledger().open({0}), std::invalid_argument);
}

// Of 10 steps an epoch, 5 are taken; with 20 an epoch an example of step 3 may be in step 15 as
// well, and both were step 0 to 19 of epoch 0. With as many steps of more examples, likewise.
TEST(LedgerTest, OtherExamplesOrEpochsThanBeforeAreRefused) {
  LedgerTerms terms = sample_terms();
  terms.sampling = Sampling::shuffle;
  terms.adjacency = Adjacency::replace_one;
  terms.steps_per_epoch = 10;
  Ledger ledger = begun(terms);
  take(ledger, 3, 1);
  LedgerTerms longer = terms, more = terms;
  longer.steps_per_epoch = 20;
  more.examples += 1;
  EXPECT_THROW(ledger.begin(longer), Error);
  EXPECT_THROW(ledger.begin(more), Error);
  Ledger sampled = begun(sample_terms());
  LedgerTerms others = sample_terms();
  others.examples += 1;
  EXPECT_THROW(sampled.begin(others), Error);
  ledger.begin(terms);  // it goes on as it was
  EXPECT_EQ(ledger.releases(0), 1U);
}

// Steps of users cost what steps of examples cost at the same rate. How many examples of each may
// take part is not what the cost depends on, and may change; how many users there are may not.
TEST(LedgerTest, StepsOfUsersAreChargedAtTheRateOfUsers) {
  Ledger ledger = begun(terms_of_users());
  for (Step step = 0; step < 20; ++step) take(ledger, step, step);
  const std::vector<GaussianSteps> history = ledger.history(0);
  ASSERT_EQ(history.size(), 1U);
  EXPECT_EQ(history[0].sampling_rate, 0.01);
  EXPECT_EQ(history[0].noise, 1);
  EXPECT_EQ(history[0].count, 20U);
  LedgerTerms terms = terms_of_users();
  terms.examples_per_user = 9;
  ledger.begin(terms);
  terms.users += 1;
  EXPECT_THROW(ledger.begin(terms), Error);
  EXPECT_THROW(ledger.begin(sample_terms()), Error);  // of examples
}

TEST(LedgerRows, TermsOfUsersAreWrittenAndReadAgain) {
  const std::string line = row_text({1, 0, terms_of_users()}, NoisePlace::central);
  EXPECT_THAT(line, testing::HasSubstr(R"("unit":"user","adjacency":"add-remove","users":1000,)"
                                       R"("examples_per_user":5,"partitions":1,)"));
  EXPECT_THAT(line, testing::Not(testing::HasSubstr("\"examples\"")));
  const LedgerRow row = parse_row(line.substr(0, line.size() - 1));
  EXPECT_EQ(std::get<LedgerTerms>(row.what), terms_of_users());
}

}  // namespace
}  // namespace sheaf::privacy
