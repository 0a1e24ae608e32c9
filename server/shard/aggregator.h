// Collects one chunk's contributions to one step and sums them over the partition tree.
//
// A contribution covers one node of the tree. It waits until its sibling has arrived, then the two
// are added in place and stand for their parent, up to the root: at most one buffer per unfinished
// pair is alive, and the sum has the same bits for every order of arrival and every grouping.
// Owns the buffers it is given. Belongs to one lane; not thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/bit_set.h"
#include "common/base/buffer_pool.h"
#include "common/params/partition_tree.h"
#include "server/consistency/gate.h"

namespace sheaf::server {

class Aggregator {
 public:
  Aggregator(std::uint32_t partitions, std::size_t elements);

  enum class Offer { disjoint, contained, overlapping };
  // How `node` meets what is covered already. REQUIRES: a node of the tree.
  Offer offer(PartitionRange node) const;
  bool covers(std::uint32_t partition) const { return covered_.test(partition); }

  // Adds the sum over `node`; an empty buffer says that its partitions have nothing in this step.
  // REQUIRES: offer(node) == disjoint.
  void add(PartitionRange node, std::uint64_t examples, Buffer values);

  Arrivals arrivals() const;
  // Valid when all partitions are covered: the sum (empty if nobody had examples) and its count.
  const Buffer& sum() const { return pending_.front().values; }
  std::uint64_t examples() const { return pending_.front().examples; }

  // Forgets everything, for the next step.
  void reset();

 private:
  struct Pending {
    PartitionRange node;
    std::uint64_t examples;
    Buffer values;
  };
  params::PartitionTree tree_;
  std::size_t elements_;
  BitSet covered_;
  std::vector<Pending> pending_;
};

}  // namespace sheaf::server
