// What a worker pushes for the partitions of a share, and how their sums are taken: the same
// whoever computes them.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/compression/compressor.h"
#include "common/math/kernels.h"
#include "common/params/chunk_map.h"
#include "common/params/partition_tree.h"
#include "common/privacy/mechanism.h"

namespace sheaf::worker {

// The nodes that are pushed for a share, ascending: whole nodes of the partition tree where sums
// may be taken before the push (`synchronous`, lossless and without noise), else single partitions.
std::vector<PartitionRange> pushed_nodes(const params::PartitionTree& tree, PartitionRange share,
                                         const compression::Compressor& compressor,
                                         const privacy::Mechanism& mechanism, bool synchronous);

// Bytes of one encoded chunk in memory that is pushed from: from cache line to cache line.
std::size_t encoded_stride(const params::ChunkMap& chunks,
                           const compression::Compressor& compressor);

inline bool is_finite(double loss, std::span<const float> gradient) {
  return std::isfinite(loss) && math::all_finite(gradient);
}

// How many vectors the sum over a node of so many partitions needs at once.
std::size_t sum_depth(std::uint32_t partitions);

// Leaves the sum over `node` in sums[depth], where deeper ones are scratch; returns its examples.
// `leaf(partition, depth)` leaves the gradient of one partition in sums[depth], if it returns any
// examples.
template <typename Leaf>
std::uint64_t sum_over(const params::PartitionTree& tree, PartitionRange node, std::size_t depth,
                       std::span<const std::span<float>> sums, Leaf& leaf) {
  if (node.count == 1) return leaf(node.first, depth);
  const std::uint64_t left = sum_over(tree, tree.left(node), depth, sums, leaf);
  const std::size_t next = left != 0 ? depth + 1 : depth;
  const std::uint64_t right = sum_over(tree, tree.right(node), next, sums, leaf);
  if (left != 0 && right != 0) math::add(sums[depth + 1], sums[depth]);
  return left + right;
}

}  // namespace sheaf::worker
