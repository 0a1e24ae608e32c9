// Who stands in for whom; expected values are those that the header promises.
#include "launcher/coordinator/speculation.h"

#include <gmock/gmock.h>

#include <tuple>
#include <vector>

namespace sheaf::launcher {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Worker, first partition, count, step.
using Help = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, Step>;

// Four workers with two partitions each.
class SpeculationTest : public testing::Test {
 protected:
  void lacks(Step step, std::vector<std::uint32_t> partitions) {
    speculation_.on_missing(step, partitions);
  }
  std::vector<Help> helps_;
  Speculation speculation_{{.workers = 4,
                            .partitions = 8,
                            .send = [this](std::uint32_t worker, const wire::PartitionClock& help) {
                              helps_.emplace_back(worker, help.first, help.count, help.step);
                            }}};
};

TEST_F(SpeculationTest, AnIdleWorkerTakesTheWholeShareOfALateOne) {
  speculation_.on_offer(2, 7);
  lacks(7, {1});
  EXPECT_THAT(helps_, ElementsAre(Help{2, 0, 2, 7}));
}

TEST_F(SpeculationTest, OneStandInForEachAndEachForOne) {
  speculation_.on_offer(0, 7);
  speculation_.on_offer(1, 7);
  lacks(7, {4, 5});
  lacks(7, {4, 5, 6, 7});  // another server, or asked again
  lacks(7, {4, 5, 6, 7});
  EXPECT_THAT(helps_, ElementsAre(Help{0, 4, 2, 7}, Help{1, 6, 2, 7}));
}

TEST_F(SpeculationTest, WhoHasKeptTheExamplesComesFirst) {
  speculation_.on_offer(3, 7);
  lacks(7, {4});
  speculation_.on_offer(0, 8);
  speculation_.on_offer(3, 8);
  lacks(8, {4});
  EXPECT_THAT(helps_, ElementsAre(Help{3, 4, 2, 7}, Help{3, 4, 2, 8}));
}

TEST_F(SpeculationTest, WhoIsIdleIsNotLateAndWhoIsInAnotherStepNotIdle) {
  speculation_.on_offer(0, 7);
  lacks(7, {0, 1});
  lacks(8, {4});
  lacks(6, {4});
  EXPECT_THAT(helps_, IsEmpty());
}

// Whoever offers again has done what it was asked, and is asked for more.
TEST_F(SpeculationTest, TheLastOneThatIsLeftComputesForAll) {
  for (int i = 0; i < 3; ++i) {
    speculation_.on_offer(1, 7);
    lacks(7, {0, 1, 4, 5, 6, 7});
  }
  EXPECT_THAT(helps_, ElementsAre(Help{1, 0, 2, 7}, Help{1, 4, 2, 7}, Help{1, 6, 2, 7}));
}

TEST_F(SpeculationTest, WhatALostStandInWasAskedAnotherOneIs) {
  speculation_.on_offer(0, 7);
  lacks(7, {4});
  speculation_.on_lost(0);
  speculation_.on_offer(1, 7);
  lacks(7, {4});
  EXPECT_THAT(helps_, ElementsAre(Help{0, 4, 2, 7}, Help{1, 4, 2, 7}));
}

}  // namespace
}  // namespace sheaf::launcher
