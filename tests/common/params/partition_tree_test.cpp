#include "common/params/partition_tree.h"

#include <gmock/gmock.h>

#include <cmath>
#include <set>
#include <vector>

#include "common/base/random.h"

namespace sheaf::params {
namespace {

using testing::ElementsAre;

constexpr std::uint32_t kMost = 40;  // partitions tried

// The definition of the header, spelled out: node (level, index) covers
// [index * 2^level, (index + 1) * 2^level), cut at P.
std::set<PartitionRange> nodes_by_definition(std::uint32_t partitions) {
  std::set<PartitionRange> nodes;
  for (std::uint32_t span = 1; span < 2 * partitions; span *= 2) {
    for (std::uint32_t first = 0; first < partitions; first += span) {
      nodes.insert({first, std::min(span, partitions - first)});
    }
  }
  return nodes;
}

TEST(PartitionTreeTest, NodesAreThoseOfTheDefinition) {
  for (std::uint32_t p = 1; p <= kMost; ++p) {
    const PartitionTree tree(p);
    const auto nodes = nodes_by_definition(p);
    for (std::uint32_t first = 0; first <= p + 1; ++first) {
      for (std::uint32_t count = 0; count <= p + 1; ++count) {
        const PartitionRange range{first, count};
        EXPECT_EQ(tree.is_node(range), nodes.contains(range))
            << p << ": " << first << " + " << count;
      }
    }
  }
}

TEST(PartitionTreeTest, NoRangeFromTheWireIsTooWildToJudge) {
  const PartitionTree tree(5);
  constexpr std::uint32_t kHuge = 0xffffffff;
  for (const PartitionRange range : {PartitionRange{0, kHuge}, PartitionRange{kHuge, 1},
                                     PartitionRange{kHuge, kHuge}, PartitionRange{4, kHuge - 3}}) {
    EXPECT_FALSE(tree.is_node(range));
  }
}

TEST(PartitionTreeTest, SiblingsMakeUpTheirParent) {
  for (std::uint32_t p = 1; p <= kMost; ++p) {
    const PartitionTree tree(p);
    for (const PartitionRange node : nodes_by_definition(p)) {
      if (node.count > 1) {
        const PartitionRange left = tree.left(node);
        const PartitionRange right = tree.right(node);
        EXPECT_TRUE(tree.is_node(left) && tree.is_node(right));
        EXPECT_EQ(left.first, node.first);
        EXPECT_EQ(left.end(), right.first);
        EXPECT_EQ(right.end(), node.end());
        EXPECT_EQ(tree.parent(left), node);
        EXPECT_EQ(tree.parent(right), node);
        EXPECT_EQ(tree.sibling(left), right);
        EXPECT_EQ(tree.sibling(right), left);
      }
      PartitionRange up = node;
      int levels = 0;
      while (!tree.is_root(up)) {
        up = tree.parent(up);
        ASSERT_LE(++levels, 6);
      }
    }
  }
}

// Ascending, without gaps, and minimal: no shorter cover exists, found by dynamic programming.
TEST(PartitionTreeTest, CoverIsExactAndTheShortest) {
  for (std::uint32_t p = 1; p <= kMost; ++p) {
    const PartitionTree tree(p);
    for (std::uint32_t first = 0; first < p; ++first) {
      std::vector<std::size_t> fewest(p + 1, 1000);  // nodes that cover [first, end)
      fewest[first] = 0;
      for (std::uint32_t end = first; end < p; ++end) {
        for (std::uint32_t count = 1; end + count <= p; ++count) {
          if (!tree.is_node({end, count})) continue;
          fewest[end + count] = std::min(fewest[end + count], fewest[end] + 1);
        }
      }
      for (std::uint32_t end = first; end <= p; ++end) {
        const auto cover = tree.cover({first, end - first});
        std::uint32_t at = first;
        for (const PartitionRange node : cover) {
          EXPECT_TRUE(tree.is_node(node));
          EXPECT_EQ(node.first, at);
          at = node.end();
        }
        EXPECT_EQ(at, end);
        EXPECT_EQ(cover.size(), fewest[end]) << p << ": " << first << ".." << end;
      }
    }
  }
}

TEST(PartitionTreeTest, EveryPartitionHasOneHost) {
  for (std::uint32_t p = 1; p <= kMost; ++p) {
    for (std::uint32_t workers = 1; workers <= p; ++workers) {
      std::uint32_t at = 0;
      for (std::uint32_t w = 0; w < workers; ++w) {
        const PartitionRange hosted = hosted_partitions(p, workers, w);
        EXPECT_EQ(hosted.first, at);
        EXPECT_GE(hosted.count, 1U);
        at = hosted.end();
      }
      EXPECT_EQ(at, p);
    }
  }
}

double sum_by_definition(const PartitionTree& tree, PartitionRange node,
                         const std::vector<std::vector<double>>& values, std::size_t k) {
  if (node.count == 1) return values[node.first][k];
  return sum_by_definition(tree, tree.left(node), values, k) +
         sum_by_definition(tree, tree.right(node), values, k);
}

TEST(TreeSumTest, FollowsTheTreeBitForBit) {
  for (std::uint32_t p = 1; p <= kMost; ++p) {
    std::vector<std::vector<double>> values(p, std::vector<double>(3));
    Stream stream(1, Purpose::test, p);
    for (auto& row : values) {
      for (double& value : row) value = std::exp(5 * stream.normal());
    }
    const PartitionTree tree(p);
    const auto sum = tree_sum(values);
    for (std::size_t k = 0; k < 3; ++k) {
      EXPECT_EQ(sum[k], sum_by_definition(tree, tree.root(), values, k));
    }
  }
  EXPECT_THAT(tree_sum({}), ElementsAre());
}

}  // namespace
}  // namespace sheaf::params
