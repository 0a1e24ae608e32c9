#include "common/checkpoint/pieces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::checkpoint {
namespace {

using ::testing::ElementsAre;

// a: elements 0 to 5, s: 6, b: 7 to 11.
params::Layout layout() {
  params::Layout layout;
  layout.add("a", {2, 3}, {});
  layout.add("s", {}, {});
  layout.add("b", {5}, {});
  return layout;
}

std::vector<std::string> names(std::size_t offset, std::size_t size) {
  std::vector<std::string> names;
  for (const Piece& piece : pieces_of(layout(), offset, size)) names.push_back(piece.name);
  return names;
}

TEST(PiecesTest, WholeTensorsKeepNameAndShape) {
  const auto pieces = pieces_of(layout(), 0, 12);
  ASSERT_EQ(pieces.size(), 3U);
  EXPECT_EQ(pieces[0].name, "a");
  EXPECT_THAT(pieces[0].shape, ElementsAre(2, 3));
  EXPECT_EQ(pieces[1].name, "s");
  EXPECT_THAT(pieces[1].shape, ElementsAre());
  EXPECT_EQ(pieces[1].offset, 6U);
  EXPECT_EQ(pieces[1].size, 1U);
  EXPECT_EQ(pieces[2].name, "b");
  EXPECT_EQ(pieces[2].offset, 7U);
}

TEST(PiecesTest, PartsSayWhichElementsTheyAre) {
  const auto pieces = pieces_of(layout(), 2, 8);
  ASSERT_EQ(pieces.size(), 3U);
  EXPECT_EQ(pieces[0].name, "a[2:6]");
  EXPECT_THAT(pieces[0].shape, ElementsAre(4));
  EXPECT_EQ(pieces[0].offset, 0U);
  EXPECT_EQ(pieces[2].name, "b[0:3]");
  EXPECT_THAT(pieces[2].shape, ElementsAre(3));
  EXPECT_EQ(pieces[2].offset, 5U) << "from the start of the range";
}

TEST(PiecesTest, EveryRangeIsCovered) {
  EXPECT_THAT(names(0, 6), ElementsAre("a"));
  EXPECT_THAT(names(3, 1), ElementsAre("a[3:4]"));
  EXPECT_THAT(names(6, 1), ElementsAre("s"));
  EXPECT_THAT(names(5, 3), ElementsAre("a[5:6]", "s", "b[0:1]"));
  EXPECT_THAT(names(11, 1), ElementsAre("b[4:5]"));
  EXPECT_THAT(names(12, 0), ElementsAre());
}

TEST(PiecesTest, StateHasTheNameOfItsParameters) {
  EXPECT_EQ(state_name(1, pieces_of(layout(), 2, 2).at(0)), "optimizer.1.a[2:4]");
}

TEST(PiecesTest, RangesForAPerson) {
  EXPECT_EQ(range_text(layout(), 1, 2), "a[1:3]");
  EXPECT_EQ(range_text(layout(), 1, 8), "a[1:6] to b[0:2]");
}

}  // namespace
}  // namespace sheaf::checkpoint
