#include "worker/data/split.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <set>

namespace sheaf::worker {
namespace {

using testing::HasSubstr;
using testing::Optional;

constexpr std::uint64_t kSeed = 7;
constexpr Part kParts[] = {Part::train, Part::validation, Part::test};

class SplitTest : public testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Partitions, SplitTest, testing::Values(1U, 2U, 3U, 8U));

TEST_P(SplitTest, EachRowIsInExactlyOnePlaceAndBack) {
  for (const std::uint64_t rows : {1U, 2U, 7U, 100U, 1001U}) {
    const Split split(rows, {0.1, 0.25}, GetParam(), kSeed);
    std::set<std::tuple<Part, std::uint32_t, std::uint64_t>> seen;
    for (std::uint64_t row = 0; row < rows; ++row) {
      const Split::Place place = split.place(row);
      EXPECT_TRUE(seen.emplace(place.part, place.partition, place.index).second);
      EXPECT_LT(place.partition, GetParam());
      EXPECT_LT(place.index, split.size(place.part, place.partition));
      EXPECT_EQ(split.row(place), row);
    }
    std::uint64_t sum = 0;
    for (const Part part : kParts) {
      for (std::uint32_t p = 0; p < GetParam(); ++p) sum += split.size(part, p);
    }
    EXPECT_EQ(sum, rows);
  }
}

TEST_P(SplitTest, SharesArePositionsInOrder) {
  // By brute force over the definition: positions dealt to the parts, then to the partitions.
  const std::uint64_t rows = 103;
  const std::uint32_t partitions = GetParam();
  const Split split(rows, {0.2, 0.1}, partitions, kSeed);
  const Permutation permutation(rows, kSeed, Purpose::split);
  const std::map<Part, std::pair<std::uint64_t, std::uint64_t>> parts = {
      {Part::validation, {0, 20}}, {Part::test, {20, 30}}, {Part::train, {30, 103}}};
  for (const auto& [part, range] : parts) {
    const std::uint64_t n = range.second - range.first;
    ASSERT_EQ(split.size(part), n);
    for (std::uint32_t p = 0; p < partitions; ++p) {
      const std::uint64_t begin = n * p / partitions;
      const std::uint64_t end = n * (p + 1) / partitions;
      ASSERT_EQ(split.size(part, p), end - begin);
      for (std::uint64_t j = begin; j < end; ++j) {
        const std::uint64_t row = permutation.inverse(range.first + j);
        EXPECT_EQ(split.place(row), (Split::Place{part, p, j - begin}));
      }
    }
  }
}

TEST_P(SplitTest, ATestSetOfItsOwnIsAllTest) {
  const Split split = Split::of_test_set(50, GetParam(), kSeed);
  EXPECT_EQ(split.size(Part::test), 50U);
  EXPECT_EQ(split.size(Part::train), 0U);
  std::vector<std::uint64_t> counts(GetParam());
  for (std::uint64_t row = 0; row < 50; ++row) {
    EXPECT_EQ(split.place(row).part, Part::test);
    ++counts[split.place(row).partition];
  }
  for (std::uint32_t p = 0; p < GetParam(); ++p) EXPECT_EQ(counts[p], split.size(Part::test, p));
}

TEST(SplitPartsTest, DoNotDependOnThePartitions) {
  const Split one(1000, {0.1, 0.1}, 1, kSeed);
  const Split eight(1000, {0.1, 0.1}, 8, kSeed);
  for (std::uint64_t row = 0; row < 1000; ++row) {
    EXPECT_EQ(one.place(row).part, eight.place(row).part);
  }
}

TEST(SplitPartsTest, AreSpreadOverTheFile) {
  // Validation rows of 10 000 behave like draws without replacement: a half holds 500 +- 5 * 15
  // (hypergeometric variance 1000 / 4 * 9000 / 9999 = 225).
  const Split split(10000, {0.1, 0}, 4, kSeed);
  int first_half = 0;
  for (std::uint64_t row = 0; row < 5000; ++row) {
    first_half += split.place(row).part == Part::validation ? 1 : 0;
  }
  EXPECT_NEAR(first_half, 500, 75);
}

TEST(SplitPartsTest, DependOnTheSeed) {
  const Split a(1000, {0.1, 0}, 2, 1);
  const Split b(1000, {0.1, 0}, 2, 2);
  int moved = 0;
  for (std::uint64_t row = 0; row < 1000; ++row) moved += a.place(row) == b.place(row) ? 0 : 1;
  EXPECT_GT(moved, 900);
}

TEST(SplitPartsTest, ADecimalFractionOfRowsIsNotRoundedDown) {
  // 0.29 * 100 is 28.999… in binary.
  EXPECT_EQ(Split(100, {0.29, 0}, 1, kSeed).size(Part::validation), 29U);
  EXPECT_EQ(Split(60000, {0.1, 0}, 1, kSeed).size(Part::validation), 6000U);
  EXPECT_EQ(Split(9, {0.1, 0}, 1, kSeed).size(Part::validation), 0U);
}

TEST(SplitPartsTest, FractionsThatLeaveNothingHaveAReason) {
  EXPECT_EQ(Split::problem({0.5, 0.4}), std::nullopt);
  EXPECT_THAT(Split::problem({0.5, 0.5}), Optional(HasSubstr("validation = 0.5 and test = 0.5")));
  EXPECT_THAT(Split::problem({-0.1, 0}), Optional(HasSubstr("at least 0")));
  EXPECT_THAT(Split::problem({std::nan(""), 0}), Optional(HasSubstr("sum below 1")));
}

}  // namespace
}  // namespace sheaf::worker
