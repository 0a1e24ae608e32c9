// The fixed binary tree over partitions that gives every sum its order.
//
// Node (level, index) covers partitions [index * 2^level, (index + 1) * 2^level), cut at P. A sum
// over a node is (sum of its left half) + (sum of its right half); a half without examples is left
// out. Float addition commutes, so the sum of a node has the same bits whoever adds, in whatever
// order the halves arrive. Pure functions; thread-safe.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "common/base/ids.h"

namespace sheaf::params {

class PartitionTree {
 public:
  explicit PartitionTree(std::uint32_t partitions) : partitions_(partitions) {}

  std::uint32_t partitions() const { return partitions_; }
  PartitionRange root() const { return {0, partitions_}; }
  bool is_root(PartitionRange node) const { return node == root(); }

  // True if `range` is one node of the tree.
  bool is_node(PartitionRange range) const {
    if (range.count == 0 || range.count > partitions_ || range.first >= partitions_) return false;
    const std::uint32_t span = std::bit_ceil(range.count);
    return range.first % span == 0 && cut(range.first, span) == range;
  }

  // The node above. A node without a right sibling is its own parent's whole content: the parent is
  // then an equal range, and this returns the first ancestor that is larger.
  // REQUIRES: is_node(node) and not the root.
  PartitionRange parent(PartitionRange node) const {
    std::uint32_t span = std::bit_ceil(node.count);
    PartitionRange up = node;
    while (up == node) {
      span *= 2;
      up = cut(node.first / span * span, span);
    }
    return up;
  }

  // The other half of the parent. REQUIRES: as parent().
  PartitionRange sibling(PartitionRange node) const {
    const PartitionRange up = parent(node);
    if (node.first == up.first) return {node.end(), up.count - node.count};
    return {up.first, node.first - up.first};
  }

  // The two halves of a node. REQUIRES: node.count > 1.
  PartitionRange left(PartitionRange node) const {
    return {node.first, std::bit_ceil(node.count) / 2};
  }
  PartitionRange right(PartitionRange node) const {
    const PartitionRange half = left(node);
    return {half.end(), node.count - half.count};
  }

  // The fewest nodes that cover `range` exactly, ascending: what one worker pushes.
  std::vector<PartitionRange> cover(PartitionRange range) const {
    std::vector<PartitionRange> nodes;
    std::uint32_t first = range.first;
    while (first < range.end()) {
      PartitionRange best{first, 1};
      for (std::uint32_t span = 2; span != 0 && first % span == 0; span *= 2) {
        const PartitionRange node = cut(first, span);
        if (node.end() > range.end()) break;
        best = node;
        if (node.end() == partitions_ && span >= partitions_) break;
      }
      nodes.push_back(best);
      first = best.end();
    }
    return nodes;
  }

 private:
  PartitionRange cut(std::uint32_t first, std::uint32_t span) const {
    return {first, std::min(span, partitions_ - first)};
  }
  std::uint32_t partitions_;
};

// The partitions that worker `worker` of `workers` hosts at the start: a contiguous share.
inline PartitionRange hosted_partitions(std::uint32_t partitions, std::uint32_t workers,
                                        std::uint32_t worker) {
  const auto bound = [&](std::uint64_t w) {
    return static_cast<std::uint32_t>(partitions * w / workers);
  };
  return {bound(worker), bound(worker + 1) - bound(worker)};
}

// Sums one vector per partition over the tree, in fp64: values[p] are equally long. The result has
// the same bits for any grouping that follows the tree.
std::vector<double> tree_sum(const std::vector<std::vector<double>>& values);

}  // namespace sheaf::params
