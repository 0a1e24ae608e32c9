#include "server/shard/aggregator.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <vector>

#include "common/base/error.h"
#include "common/base/random.h"

namespace sheaf::server {
namespace {

constexpr std::size_t kElements = 5;
using Values = std::vector<float>;

// Partition p's contribution: numbers of very different size, so that any other order or grouping
// of the additions would show in the last bits.
Values contribution(std::uint32_t partition) {
  Stream stream(1, Purpose::test, partition);
  Values values(kElements);
  for (float& value : values) {
    value = static_cast<float>(std::ldexp(stream.normal(), static_cast<int>(stream.next() % 24)));
  }
  return values;
}

std::uint64_t examples_of(std::uint32_t partition) { return 10 + partition; }

// The sum over a node as the header of PartitionTree defines it, written down once more: left half
// plus right half, where the left half is the largest power of two below the width. Halves without
// examples are left out.
std::optional<Values> sum_by_definition(PartitionRange node, const std::vector<bool>& present) {
  if (node.count == 1) {
    if (!present[node.first]) return std::nullopt;
    return contribution(node.first);
  }
  std::uint32_t half = 1;
  while (2 * half < node.count) half *= 2;
  auto left = sum_by_definition({node.first, half}, present);
  const auto right = sum_by_definition({node.first + half, node.count - half}, present);
  if (!left) return right;
  if (!right) return left;
  for (std::size_t i = 0; i < kElements; ++i) (*left)[i] += (*right)[i];
  return left;
}

std::vector<std::uint32_t> bits(const Values& values) {
  std::vector<std::uint32_t> words;
  for (const float value : values) words.push_back(std::bit_cast<std::uint32_t>(value));
  return words;
}

class Sums {
 public:
  // `encoded`: what has examples is added as if it had to be decoded; so are two at a time there.
  explicit Sums(std::uint32_t partitions, bool encoded = false)
      : partitions_(partitions),
        encoded_(encoded),
        pool_(kElements * sizeof(float), Aggregator::most_buffers(partitions) + (encoded ? 2 : 1)),
        aggregator_(partitions, kElements, pool_) {}

  Aggregator& aggregator() { return aggregator_; }
  Buffer take() { return pool_.take(); }

  // Adds these nodes in this order and compares with the definition.
  void check_step(const std::vector<PartitionRange>& nodes, const std::vector<bool>& present) {
    std::uint32_t covered = 0;
    std::uint64_t examples = 0;
    for (const PartitionRange node : nodes) {
      Buffer buffer;
      std::uint64_t count = 0;
      if (const auto values = sum_by_definition(node, present)) {
        buffer = pool_.take();
        std::ranges::copy(*values, buffer.floats(kElements).begin());
        for (std::uint32_t p = node.first; p < node.end(); ++p) {
          if (present[p]) count += examples_of(p);
        }
      }
      if (encoded_ && buffer) {
        aggregator_.add_encoded(node, count, [&](std::span<float> sum) {
          for (std::size_t i = 0; i < kElements; ++i) sum[i] += buffer.floats(kElements)[i];
        });
      } else {
        aggregator_.add(node, count, std::move(buffer));
      }
      examples += count;
      covered += node.count;
      EXPECT_EQ(aggregator_.arrivals().covered, covered);
    }
    ASSERT_EQ(covered, partitions_);
    const auto expected = sum_by_definition({0, partitions_}, present);
    Values scratch(kElements);
    const auto sum = aggregator_.sum(0, kElements, scratch);
    ASSERT_EQ(!sum.empty(), expected.has_value());
    EXPECT_EQ(aggregator_.examples(), examples);
    if (expected) {
      EXPECT_EQ(bits({sum.begin(), sum.end()}), bits(*expected));
      const auto last = aggregator_.sum(kElements - 1, 1, scratch);  // any part of it alone
      EXPECT_EQ(bits({last.begin(), last.end()}), bits({expected->back()}));
    }
    aggregator_.reset();
  }

 private:
  std::uint32_t partitions_;
  bool encoded_;
  BufferPool pool_;
  Aggregator aggregator_;
};

std::vector<PartitionRange> leaves(std::uint32_t partitions) {
  std::vector<PartitionRange> nodes;
  for (std::uint32_t p = 0; p < partitions; ++p) nodes.push_back({p, 1});
  return nodes;
}

TEST(AggregatorTest, EveryOrderOfFewPartitionsGivesTheBitsOfTheTree) {
  for (std::uint32_t partitions = 1; partitions <= 6; ++partitions) {
    Sums sums(partitions), encoded(partitions, true);
    auto nodes = leaves(partitions);
    do {
      sums.check_step(nodes, std::vector<bool>(partitions, true));
      encoded.check_step(nodes, std::vector<bool>(partitions, true));
    } while (std::ranges::next_permutation(nodes).found);
  }
}

TEST(AggregatorTest, EverySetOfAbsentPartitionsInEveryOrder) {
  for (std::uint32_t partitions = 1; partitions <= 5; ++partitions) {
    Sums sums(partitions);
    for (std::uint32_t mask = 0; mask < 1U << partitions; ++mask) {
      std::vector<bool> present(partitions);
      for (std::uint32_t p = 0; p < partitions; ++p) present[p] = (mask >> p & 1) != 0;
      auto nodes = leaves(partitions);
      do {
        sums.check_step(nodes, present);
      } while (std::ranges::next_permutation(nodes).found);
    }
  }
}

// Cuts the tree at random nodes: what workers that host any ranges may push.
void random_grouping(const params::PartitionTree& tree, PartitionRange node, Stream& stream,
                     std::vector<PartitionRange>& nodes) {
  if (node.count == 1 || stream.next() % 3 == 0) return nodes.push_back(node);
  random_grouping(tree, tree.left(node), stream, nodes);
  random_grouping(tree, tree.right(node), stream, nodes);
}

TEST(AggregatorTest, EveryGroupingInEveryOrderGivesTheBitsOfTheTree) {
  Stream stream(2, Purpose::test);
  for (const std::uint32_t partitions : {2U, 3U, 7U, 8U, 13U, 16U, 31U, 64U, 100U}) {
    const params::PartitionTree tree(partitions);
    Sums sums(partitions), encoded(partitions, true);
    for (int round = 0; round < 60; ++round) {
      std::vector<PartitionRange> nodes;
      random_grouping(tree, tree.root(), stream, nodes);
      for (std::size_t i = nodes.size(); i > 1; --i) {
        std::swap(nodes[i - 1], nodes[stream.next() % i]);
      }
      std::vector<bool> present(partitions);
      for (std::uint32_t p = 0; p < partitions; ++p) present[p] = stream.next() % 4 != 0;
      sums.check_step(nodes, present);
      encoded.check_step(nodes, present);
    }
  }
}

TEST(AggregatorTest, WhatCannotBeDecodedLeavesTheSumAsItWas) {
  Sums sums(2);
  Aggregator& aggregator = sums.aggregator();
  const auto refuse = [](std::span<float>) { fail(Fault::network, "malformed"); };
  const auto add = [](std::span<float> sum) { sum[0] += 3; };
  EXPECT_THROW(aggregator.add_encoded({0, 1}, 1, refuse), Error);
  aggregator.add_encoded({0, 1}, 1, add);
  EXPECT_THROW(aggregator.add_encoded({1, 1}, 1, refuse), Error);
  aggregator.add_encoded({1, 1}, 1, add);
  Values scratch(kElements);
  EXPECT_EQ(aggregator.sum(0, 1, scratch)[0], 6);
  EXPECT_EQ(aggregator.examples(), 2U);
}

// Every second leaf first: the most buffers that can wait. Sums has a pool of just that many and
// one for the push that arrives.
TEST(AggregatorTest, TheWorstOrderKeepsWithinTheBuffersPromised) {
  for (const std::uint32_t partitions : {1U, 2U, 3U, 5U, 8U, 15U, 16U, 33U}) {
    Sums sums(partitions);
    auto nodes = leaves(partitions);
    std::ranges::stable_partition(nodes, [](PartitionRange n) { return n.first % 2 == 0; });
    sums.check_step(nodes, std::vector<bool>(partitions, true));
  }
}

TEST(AggregatorTest, WhatIsNoUncoveredNodeIsABrokenInvariant) {
  Sums sums(6);
  Aggregator& aggregator = sums.aggregator();
  EXPECT_THROW(aggregator.add({1, 2}, 1, {}), Error);
  aggregator.add({0, 2}, 1, {});
  EXPECT_THROW(aggregator.add({0, 2}, 1, {}), Error);
  EXPECT_THROW(aggregator.add({0, 4}, 1, {}), Error);
}

}  // namespace
}  // namespace sheaf::server
