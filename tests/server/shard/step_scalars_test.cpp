#include "server/shard/step_scalars.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <vector>

namespace sheaf::server {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// 1e16 + 1 - 1e16 is 0 or 2 or 1 depending on the order: here always that of the chunk ids.
TEST(StepScalarsTest, SumIsInTheOrderOfChunksWhoeverReportsFirst) {
  const double values[] = {1e16, 1, -1e16};
  std::vector<std::uint32_t> order = {0, 1, 2};
  do {
    StepScalars scalars(3);
    for (const std::uint32_t chunk : order) scalars.add(0, chunk, values[chunk]);
    EXPECT_EQ(scalars.total(0), (1e16 + 1) - 1e16);
  } while (std::ranges::next_permutation(order).found);
}

TEST(StepScalarsTest, NothingIsKnownBeforeTheLastChunk) {
  StepScalars scalars(3);
  scalars.add(5, 1, 2);
  scalars.add(5, 2, 3);
  EXPECT_EQ(scalars.total(5), std::nullopt);
  EXPECT_THAT(scalars.missing(5), ElementsAre(0));
  scalars.add(5, 0, 1);
  EXPECT_EQ(scalars.total(5), 6);
  EXPECT_THAT(scalars.missing(5), IsEmpty());
}

TEST(StepScalarsTest, RepetitionsCountOnce) {
  StepScalars scalars(2);
  scalars.add(0, 0, 1);
  scalars.add(0, 0, 100);
  scalars.add(0, 1, 1);
  scalars.add(0, 1, 100);
  EXPECT_EQ(scalars.total(0), 2);
}

TEST(StepScalarsTest, ASumThatWasSaidStandsForValuesThatAreNotKnown) {
  StepScalars scalars(2);
  scalars.add(4, 1, 10);
  scalars.add_total(4, 13);
  EXPECT_EQ(scalars.total(4), 13);
  EXPECT_EQ(scalars.value(4, 1), 10);
  EXPECT_EQ(scalars.value(4, 0), std::nullopt);
  scalars.add_total(2, 99);  // of a step that is over
  EXPECT_EQ(scalars.total(2), std::nullopt);
  scalars.add(6, 0, 1);
  EXPECT_EQ(scalars.total(6), std::nullopt);
}

TEST(StepScalarsTest, TwoStepsAreOpenAndOlderOnesAreIgnored) {
  StepScalars scalars(2);
  scalars.add(3, 0, 1);
  scalars.add(4, 1, 10);
  scalars.add(3, 1, 2);
  EXPECT_EQ(scalars.total(3), 3);
  scalars.add(5, 0, 7);
  EXPECT_EQ(scalars.total(3), std::nullopt);
  scalars.add(3, 1, 99);
  EXPECT_EQ(scalars.total(5), std::nullopt);
  scalars.add(4, 0, 20);
  EXPECT_EQ(scalars.total(4), 30);
  EXPECT_THAT(scalars.missing(5), ElementsAre(1));
  EXPECT_THAT(scalars.missing(7), ElementsAre(0, 1));
}

}  // namespace
}  // namespace sheaf::server
