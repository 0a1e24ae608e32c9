#include "worker/data/partition.h"

#include <gmock/gmock.h>

#include <map>
#include <set>

#include "tests/worker/data/support.h"

namespace sheaf::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

constexpr Part kParts[] = {Part::train, Part::validation, Part::test};

std::vector<std::uint64_t> source_rows(const Partition& partition) {
  std::vector<std::uint64_t> rows;
  for (const std::uint32_t i : partition.rows()) rows.push_back(partition.examples().row(i));
  return rows;
}

TEST(PartitionTest, ContentDoesNotDependOnWhatAProcessHosts) {
  for (const std::uint32_t partitions : {1U, 2U, 3U, 8U}) {
    const Partitioning how{partitions, {0.1, 0}, 7};
    NumberedSource source(501, 90);
    const PartitionSet all(source, how, {0, partitions});
    std::map<Part, std::set<std::uint64_t>> seen;
    for (std::uint32_t p = 0; p < partitions; ++p) {
      const PartitionSet alone(source, how, {p, 1});
      for (const Part part : kParts) {
        const auto rows = source_rows(alone.part(part, p));
        EXPECT_EQ(rows, source_rows(all.part(part, p)));
        EXPECT_EQ(rows.size(), alone.size(part, p));
        seen[part].insert(rows.begin(), rows.end());
      }
    }
    EXPECT_EQ(seen[Part::train].size() + seen[Part::validation].size(), 501U);
    EXPECT_EQ(seen[Part::validation].size(), 50U);
    EXPECT_EQ(seen[Part::test].size(), 90U);
  }
}

TEST(PartitionTest, OnlyHostedRowsAreKept) {
  NumberedSource source(800, 0);
  const PartitionSet data(source, {8, {0.1, 0.1}, 7}, {2, 3});
  std::uint64_t expected = 0;
  for (const Part part : kParts) {
    for (std::uint32_t p = 2; p < 5; ++p) expected += data.size(part, p);
  }
  std::size_t kept = 0;
  data.each_target([&](SourcePart part, std::uint64_t row, std::span<const float> targets) {
    ++kept;
    EXPECT_EQ(part, SourcePart::train);
    EXPECT_THAT(targets, ElementsAre(-static_cast<float>(row)));
  });
  EXPECT_EQ(kept, expected);
  EXPECT_EQ(data.size(Part::test), 80U);  // cut from the training rows
}

TEST(PartitionTest, RowsStandInTheOrderOfTheSplit) {
  NumberedSource source(100, 0);
  const PartitionSet data(source, {3, {0.2, 0}, 7}, {1, 2});
  const Split split(100, {0.2, 0}, 3, 7);
  for (std::uint32_t p = 1; p < 3; ++p) {
    const auto rows = source_rows(data.train(p));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i], split.row({Part::train, p, i}));
    }
  }
}

TEST(PartitionTest, GatherTakesTheNamedExamples) {
  NumberedSource source(100, 0);
  const PartitionSet data(source, {2, {}, 7}, {1, 1});
  const Partition train = data.train(1);
  Batch batch = make_batch(3, data.schema());
  const std::vector<std::uint64_t> places = {4, 0, 4};
  train.gather(places, Normaliser(), batch);
  ASSERT_EQ(batch.examples, 3U);
  for (std::size_t slot = 0; slot < 3; ++slot) {
    const auto row = static_cast<float>(train.examples().row(train.rows()[places[slot]]));
    EXPECT_EQ(batch.inputs[slot * 2], row);
    EXPECT_EQ(batch.inputs[slot * 2 + 1], 1000 + row);
    EXPECT_EQ(batch.targets[slot], -row);
  }
}

TEST(PartitionTest, BlocksCoverAPartInOrder) {
  NumberedSource source(2000, 600);
  const PartitionSet data(source, {2, {}, 7}, {0, 2});
  const Partition test = data.test(1);
  ASSERT_EQ(test.size(), 300U);
  ASSERT_EQ(test.blocks(), 2U);
  Batch batch = make_batch(kEvaluationBlock, data.schema());
  std::vector<std::uint64_t> rows;
  for (std::size_t block = 0; block < test.blocks(); ++block) {
    test.block(block, Normaliser(), batch);
    EXPECT_EQ(batch.examples, block == 0 ? 256U : 44U);
    for (std::size_t i = 0; i < batch.examples; ++i) {
      rows.push_back(static_cast<std::uint64_t>(batch.inputs[i * 2]));
    }
  }
  EXPECT_EQ(rows, source_rows(test));
}

TEST(PartitionTest, AProcessMayHostNothing) {
  NumberedSource source(10, 5);
  const PartitionSet data(source, {2, {}, 7}, {2, 0});
  EXPECT_EQ(data.size(Part::train), 10U);
  data.each_target([](auto...) { ADD_FAILURE() << "nothing is kept"; });
}

TEST(PartitionTest, FewerRowsThanPartitionsLeaveSomeEmpty) {
  NumberedSource source(2, 0);
  const PartitionSet data(source, {8, {}, 7}, {0, 8});
  std::uint64_t sum = 0;
  for (std::uint32_t p = 0; p < 8; ++p) {
    sum += data.train(p).size();
    EXPECT_EQ(data.train(p).blocks(), data.train(p).size());
  }
  EXPECT_EQ(sum, 2U);
}

TEST(PartitionTest, ATestFractionBesideATestSetIsRefused) {
  NumberedSource source(100, 20);
  EXPECT_THAT(
      fault_of(Fault::config, [&] { PartitionSet(source, {2, {0.1, 0.1}, 7}, {0, 2}); }),
      HasSubstr("test = 0.1 would cut a test part, but the source brings a test set of 20"));
  EXPECT_THAT(partitioning_problem(100, 0, {2, {0.6, 0.6}, 7}), Optional(HasSubstr("sum below 1")));
  EXPECT_EQ(partitioning_problem(100, 0, {2, {0.1, 0.1}, 7}), std::nullopt);
}

TEST(PartitionTest, ASourceWithoutExamplesIsRefused) {
  NumberedSource source(0, 0);
  EXPECT_THAT(data_fault([&] { PartitionSet(source, {2, {}, 7}, {0, 2}); }),
              HasSubstr("no examples"));
}

TEST(PartitionTest, ASourceThatGivesFewerRowsThanItSaidIsRefused) {
  class Shrinking final : public NumberedSource {
   public:
    Shrinking() : NumberedSource(100, 0) {}
    void read(SourcePart part, const RowFilter& keep, Examples& into) override {
      NumberedSource::read(part, [&](std::uint64_t row) { return row < 90 && keep(row); }, into);
    }
  } source;
  EXPECT_THAT(data_fault([&] { PartitionSet(source, {1, {}, 7}, {0, 1}); }),
              HasSubstr("found 90 examples of this process, expected 100"));
}

}  // namespace
}  // namespace sheaf::worker
