// Collects one chunk's contributions to one step and sums them over the partition tree.
//
// A contribution covers one node of the tree. It waits until its sibling has arrived, then the two
// are added and stand for their parent, up to the two halves of the root: these are only added when
// the sum is read, block by block, on the way into the optimizer. At most one buffer per unfinished
// pair is alive, and the sum has the same bits for every order of arrival and every grouping.
//
// Sums are taken in place, in the buffer that was received; lent buffers are only read.
// Owns the buffers it is given. Belongs to one lane; not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "common/base/buffer_pool.h"
#include "common/params/partition_tree.h"
#include "server/consistency/gate.h"

namespace sheaf::server {

class Aggregator {
 public:
  // `pool` gives room for the sum of two lent buffers.
  Aggregator(std::uint32_t partitions, std::size_t elements, BufferPool& pool);

  // The most buffers that one chunk keeps alive.
  static std::size_t most_buffers(std::uint32_t partitions);

  // Adds the sum over `node`; an empty buffer says that its partitions have nothing in this step.
  // REQUIRES: a node of the tree, none of whose partitions has been added.
  void add(PartitionRange node, std::uint64_t examples, Buffer values);

  // The same of what has still to be decoded: `decode_add` is given the sum of the node's sibling,
  // if that is here and may be written, else zeros, and adds to it. What it throws leaves
  // everything as it was, if it throws before it adds.
  void add_encoded(PartitionRange node, std::uint64_t examples,
                   const std::function<void(std::span<float>)>& decode_add);

  Arrivals arrivals() const;
  // Valid when all partitions are covered.
  std::uint64_t examples() const;
  // Elements [at, at + count) of the sum: where they lie already, or in `scratch`. Empty if nobody
  // had examples.
  std::span<const float> sum(std::size_t at, std::size_t count, std::span<float> scratch) const;

  // Forgets everything, for the next step.
  void reset();

 private:
  struct Pending {
    PartitionRange node;
    std::uint64_t examples;
    Buffer values;
  };
  Buffer sum_of(Buffer a, Buffer b);

  params::PartitionTree tree_;
  std::size_t elements_;
  BufferPool* pool_;
  std::uint32_t covered_ = 0;  // partitions
  std::vector<Pending> pending_;
};

}  // namespace sheaf::server
