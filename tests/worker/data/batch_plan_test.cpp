#include "worker/data/batch_plan.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

namespace sheaf::worker {
namespace {

using testing::HasSubstr;
using testing::Optional;

constexpr std::uint64_t kSeed = 7;

std::vector<std::uint64_t> indices_of(const BatchPlan& plan, Step step, std::uint32_t partition) {
  std::vector<std::uint64_t> indices;
  plan.indices(step, partition, indices);
  return indices;
}

std::vector<std::uint64_t> counting_to(std::uint64_t n) {
  std::vector<std::uint64_t> all(n);
  std::iota(all.begin(), all.end(), 0U);
  return all;
}

TEST(BatchPlanTest, AgreesWithDealingOutByHand) {
  for (const std::uint64_t examples : {1U, 5U, 64U, 100U, 1001U}) {
    for (const std::uint32_t partitions : {1U, 2U, 3U, 8U}) {
      for (const std::uint64_t batch : {8U, 10U, 33U, 2000U}) {
        SCOPED_TRACE(testing::Message()
                     << examples << " examples, P = " << partitions << ", batch " << batch);
        const BatchPlan plan(examples, batch, partitions, kSeed);
        // Example e goes to the partition whose range holds it, slot s of a step likewise; each
        // partition then takes as many as it has slots until it has none left.
        std::vector<std::uint64_t> left(partitions);
        std::vector<std::uint64_t> slots(partitions);
        for (std::uint32_t p = 0; p < partitions; ++p) {
          for (std::uint64_t e = examples * p / partitions; e < examples * (p + 1) / partitions;
               ++e)
            ++left[p];
          for (std::uint64_t s = batch * p / partitions; s < batch * (p + 1) / partitions; ++s)
            ++slots[p];
          EXPECT_EQ(plan.batch(p), slots[p]);
        }
        Step steps = 0;
        for (; std::ranges::any_of(left, [](std::uint64_t n) { return n > 0; }); ++steps) {
          for (std::uint32_t p = 0; p < partitions; ++p) {
            const std::uint64_t count = std::min(slots[p], left[p]);
            EXPECT_EQ(plan.count(steps, p), count);
            EXPECT_EQ(indices_of(plan, steps, p).size(), count);
            left[p] -= count;
          }
        }
        EXPECT_EQ(plan.steps_per_epoch(), steps);
      }
    }
  }
}

TEST(BatchPlanTest, AnEpochVisitsEachExampleOnce) {
  const BatchPlan plan(1001, 33, 3, kSeed);
  for (const std::uint64_t epoch : {0U, 1U, 5U}) {
    for (std::uint32_t p = 0; p < 3; ++p) {
      std::vector<std::uint64_t> seen;
      for (Step step = 0; step < plan.steps_per_epoch(); ++step) {
        const auto batch = indices_of(plan, epoch * plan.steps_per_epoch() + step, p);
        seen.insert(seen.end(), batch.begin(), batch.end());
      }
      EXPECT_FALSE(std::ranges::is_sorted(seen));
      std::ranges::sort(seen);
      EXPECT_EQ(seen, counting_to(1001 * (p + 1) / 3 - 1001 * p / 3));
    }
  }
}

TEST(BatchPlanTest, EpochsAndPartitionsAreShuffledApart) {
  const BatchPlan plan(2000, 200, 2, kSeed);
  const auto first = indices_of(plan, 0, 0);
  EXPECT_NE(first, indices_of(plan, plan.steps_per_epoch(), 0));
  EXPECT_NE(first, indices_of(plan, 0, 1));
  EXPECT_NE(first, indices_of(BatchPlan(2000, 200, 2, kSeed + 1), 0, 0));
  EXPECT_EQ(first, indices_of(BatchPlan(2000, 200, 2, kSeed), 0, 0));
}

// So that an example is back after an epoch's steps exactly.
TEST(BatchPlanTest, CyclicEpochsAreTheFirstShuffledOneAgainAndAgain) {
  const BatchPlan plan(1001, 33, 3, kSeed, Sampling::cyclic), shuffled(1001, 33, 3, kSeed);
  EXPECT_EQ(plan.steps_per_epoch(), shuffled.steps_per_epoch());
  for (Step step = 0; step < 3 * plan.steps_per_epoch(); ++step) {
    for (std::uint32_t p = 0; p < 3; ++p) {
      EXPECT_EQ(plan.count(step, p), shuffled.count(step, p));
      EXPECT_EQ(indices_of(plan, step, p), indices_of(shuffled, step % plan.steps_per_epoch(), p));
    }
  }
}

TEST(BatchPlanTest, AnExhaustedPartitionHasNothingLeft) {
  // P = 2 of 5 examples: shares of 2 and 3, one a step each.
  const BatchPlan plan(5, 2, 2, kSeed);
  EXPECT_EQ(plan.steps_per_epoch(), 3U);
  EXPECT_EQ(plan.count(2, 0), 0U);
  EXPECT_EQ(plan.count(2, 1), 1U);
  EXPECT_EQ(plan.count(3, 0), 1U);  // the next epoch
  EXPECT_EQ(plan.epoch(2), 0U);
  EXPECT_EQ(plan.epoch(3), 1U);
}

TEST(BatchPlanTest, ABatchBelowThePartitionsHasAReason) {
  EXPECT_EQ(BatchPlan::problem(4, 4), std::nullopt);
  EXPECT_THAT(BatchPlan::problem(3, 4), Optional(HasSubstr("batch of 3")));
}

TEST(BatchPlanTest, OfPoissonSamplingCountsWhatIsExpectedInEveryStep) {
  const BatchPlan plan(1000, 33, 4, kSeed, Sampling::poisson);
  EXPECT_EQ(plan.steps_per_epoch(), 30U);  // floor(1000 / 33)
  for (const Step step : {0U, 29U, 30U, 1000U}) {
    std::uint64_t all = 0;
    for (std::uint32_t p = 0; p < 4; ++p) {
      EXPECT_EQ(plan.count(step, p), plan.batch(p));
      all += plan.count(step, p);
    }
    EXPECT_EQ(all, 33U);
  }
  // The mean 8.25, eight deviations of 2.825 and eight.
  EXPECT_EQ(plan.rows(0), 38U);
  EXPECT_EQ(BatchPlan(10, 10, 1, kSeed, Sampling::poisson).rows(0), 10U);  // no more than there are
}

}  // namespace
}  // namespace sheaf::worker
