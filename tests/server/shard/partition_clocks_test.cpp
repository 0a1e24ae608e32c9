#include "server/chunk/partition_clocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "common/base/random.h"

namespace sheaf::server {
namespace {

using enum PartitionClocks::Offer;

TEST(PartitionClocksTest, AnOfferIsTheNextStepOrHereOrInPartOrAhead) {
  PartitionClocks clocks(6);
  clocks.advance({2, 2});
  clocks.advance({4, 1});
  EXPECT_EQ(clocks.offer({0, 1}, 0), next);
  EXPECT_EQ(clocks.offer({0, 2}, 0), next);
  EXPECT_EQ(clocks.offer({2, 1}, 0), contained);
  EXPECT_EQ(clocks.offer({2, 2}, 0), contained);
  EXPECT_EQ(clocks.offer({0, 4}, 0), overlapping);
  EXPECT_EQ(clocks.offer({4, 2}, 0), overlapping);
  EXPECT_EQ(clocks.offer({0, 6}, 0), overlapping);
  EXPECT_EQ(clocks.offer({2, 2}, 1), next);
  EXPECT_EQ(clocks.offer({0, 4}, 1), ahead);
  EXPECT_TRUE(clocks.has(3, 0));
  EXPECT_FALSE(clocks.has(3, 1));
  EXPECT_FALSE(clocks.has(5, 0));
}

// Against counting anew, over random steps of random ranges.
TEST(PartitionClocksTest, TheSlowestIsTheLeastOfAll) {
  Stream random(1, Purpose::test);
  for (std::uint32_t partitions = 1; partitions <= 9; ++partitions) {
    PartitionClocks clocks(partitions);
    std::vector<Step> expected(partitions, 0);
    for (int i = 0; i < 200; ++i) {
      const auto first = static_cast<std::uint32_t>(random.next() % partitions);
      const auto count = 1 + static_cast<std::uint32_t>(random.next() % (partitions - first));
      clocks.advance({first, count});
      for (std::uint32_t p = first; p < first + count; ++p) ++expected[p];
      const auto passes = static_cast<std::uint32_t>(random.next() % partitions);
      const Step to = random.next() % (expected[passes] + 3);  // perhaps where it has long been
      clocks.pass(passes, to);
      expected[passes] = std::max(expected[passes], to);
      const auto [least, most] = std::ranges::minmax(expected);
      EXPECT_EQ(clocks.slowest(), least);
      EXPECT_EQ(clocks.level(), least == most);
      EXPECT_EQ(clocks.any_beyond(least), least != most);
      EXPECT_EQ(clocks.slowest({first, count}),
                *std::min_element(expected.begin() + first, expected.begin() + first + count));
    }
  }
}

TEST(PartitionClocksTest, GoesOnFromWhereItIsSet) {
  PartitionClocks clocks(3);
  clocks.advance({1, 1});
  clocks.set_all(7);
  EXPECT_TRUE(clocks.level());
  EXPECT_EQ(clocks.slowest(), 7U);
  EXPECT_EQ(clocks.offer({0, 2}, 7), next);
  EXPECT_EQ(clocks.offer({0, 2}, 6), contained);
  EXPECT_EQ(clocks.slowest({0, 0}), std::numeric_limits<Step>::max());
}

}  // namespace
}  // namespace sheaf::server
