// What workers contribute, in any order and grouping; expected values are worked out by hand.
#include "launcher/coordinator/gathering.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Values = std::vector<std::pair<std::uint32_t, std::vector<double>>>;

constexpr ProcessId kWorker{Role::worker, 1};

std::optional<Gathering::Whole> sum(Gathering& gathering, const std::string& tag, Values values) {
  return gathering.add(kWorker, {tag, true, std::move(values)});
}

std::optional<Gathering::Whole> list(Gathering& gathering, const std::string& tag, Values values) {
  return gathering.add(kWorker, {tag, false, std::move(values)});
}

std::string refusal(Gathering& gathering, wire::Contribution contribution) {
  try {
    gathering.add(kWorker, std::move(contribution));
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::network);
    return error.message();
  }
  return "taken";
}

// 1 + 2^-53 rounds to 1, 2^-53 + 2^-53 does not round: only (1 + 2^-53) + (2^-53 + 2^-53), the tree
// over four partitions, is 1 + 2^-52. From left to right the sum is 1, from right to left more.
TEST(GatheringTest, SumsAreThoseOfTheTreeWhateverArrivesFirst) {
  const double tiny = 0x1p-53;
  const std::array<double, 4> by_partition = {1, tiny, tiny, tiny};
  std::array<std::uint32_t, 4> order = {0, 1, 2, 3};
  do {
    Gathering gathering(4);
    std::optional<Gathering::Whole> whole;
    for (const std::uint32_t partition : order) {
      EXPECT_FALSE(whole);
      whole = sum(gathering, "loss", {{partition, {by_partition[partition], 1}}});
    }
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole->tag, "loss");
    EXPECT_TRUE(whole->sum);
    EXPECT_THAT(whole->values, ElementsAre(1 + 0x1p-52, 4));
  } while (std::ranges::next_permutation(order).found);
}

TEST(GatheringTest, ListsOfAnyLengthAreJoinedByPartition) {
  Gathering gathering(3);
  EXPECT_FALSE(list(gathering, "scores", {{2, {5, 6}}, {0, {1, 2, 3}}}));
  const auto whole = list(gathering, "scores", {{1, {}}});
  ASSERT_TRUE(whole);
  EXPECT_FALSE(whole->sum);
  EXPECT_THAT(whole->values, ElementsAre(1, 2, 3, 5, 6));
}

TEST(GatheringTest, TagsDoNotMix) {
  Gathering gathering(2);
  EXPECT_FALSE(sum(gathering, "train", {{0, {1}}}));
  EXPECT_FALSE(sum(gathering, "test", {{0, {10, 20}}}));
  EXPECT_THAT(sum(gathering, "train", {{1, {2}}})->values, ElementsAre(3));
  EXPECT_THAT(sum(gathering, "test", {{1, {30, 40}}})->values, ElementsAre(40, 60));
}

// A partition that has moved is contributed again: it counts once.
TEST(GatheringTest, WhatComesAgainReplacesWhatWasThere) {
  Gathering gathering(2);
  EXPECT_FALSE(sum(gathering, "loss", {{0, {1}}}));
  EXPECT_FALSE(sum(gathering, "loss", {{0, {8}}}));
  EXPECT_THAT(sum(gathering, "loss", {{1, {2}}})->values, ElementsAre(10));
}

// Whoever takes the place of a worker asks for what that one had been told.
TEST(GatheringTest, WhatIsCompleteStaysAsItIs) {
  Gathering gathering(2);
  EXPECT_EQ(gathering.sum_of("loss"), nullptr);
  EXPECT_FALSE(sum(gathering, "loss", {{0, {1}}}));
  EXPECT_EQ(gathering.sum_of("loss"), nullptr);
  EXPECT_THAT(sum(gathering, "loss", {{1, {2}}})->values, ElementsAre(3));
  EXPECT_FALSE(sum(gathering, "loss", {{0, {7}}, {1, {7}}}));
  ASSERT_NE(gathering.sum_of("loss"), nullptr);
  EXPECT_THAT(*gathering.sum_of("loss"), ElementsAre(3));
  EXPECT_TRUE(list(gathering, "scores", {{0, {1}}, {1, {2}}}));
  EXPECT_FALSE(list(gathering, "scores", {{0, {1}}, {1, {2}}}));
}

TEST(GatheringTest, WhatDoesNotFitIsRefused) {
  Gathering gathering(3);
  EXPECT_FALSE(sum(gathering, "loss", {{0, {1, 2}}}));
  EXPECT_FALSE(list(gathering, "scores", {{0, {1, 2}}}));
  EXPECT_THAT(refusal(gathering, {"loss", true, {{3, {1, 2}}}}),
              HasSubstr("worker 1 contributes 2 values to sum for partition 3 to \"loss\""));
  EXPECT_THAT(refusal(gathering, {"loss", true, {{1, {1}}}}), HasSubstr("1 values"));
  EXPECT_THAT(refusal(gathering, {"loss", false, {{1, {1, 2}}}}), HasSubstr("to list"));
  EXPECT_THAT(refusal(gathering, {"scores", true, {{1, {1, 2}}}}), HasSubstr("to sum"));
}

}  // namespace
}  // namespace sheaf::launcher
