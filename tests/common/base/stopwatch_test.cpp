#include "common/base/stopwatch.h"

#include <gtest/gtest.h>

namespace sheaf {
namespace {

TEST(StopwatchTest, BusyIsTheSmallerOfTwoUpperBounds) {
  EXPECT_EQ((Elapsed{.wall = 3, .processor = 2}.busy()), 2);  // others had the core
  EXPECT_EQ((Elapsed{.wall = 1, .processor = 2}.busy()), 1);
}

TEST(StopwatchTest, DifferencesAndSumsAreThoseOfEachClock) {
  const Elapsed rest = Elapsed{5, 4} - Elapsed{3, 1};
  EXPECT_EQ(rest.wall, 2);
  EXPECT_EQ(rest.processor, 3);
  const Elapsed both = rest + Elapsed{1, 2};
  EXPECT_EQ(both.wall, 3);
  EXPECT_EQ(both.processor, 5);
}

// Only this thread's work counts for its own clock.
TEST(StopwatchTest, BothClocksGoOn) {
  const Elapsed passed = time_of([] {
    const Elapsed begin = clocks();
    while (clocks().processor - begin.processor < 1e-3) {
    }
  });
  EXPECT_GE(passed.processor, 1e-3);
  EXPECT_GT(passed.wall, 0);
}

}  // namespace
}  // namespace sheaf
