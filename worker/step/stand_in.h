// Computes what the partitions of another worker owe to an open step: the same sums over the same
// nodes, to the same bits, so that whichever push comes first counts and the other one is a
// repetition. The last node first, since their own worker begins with the first one.
//
// What it pushes lies in memory of its own, which goes over the connections: it is rare, and no
// workspace is kept for it. Belongs to the compute thread; what it borrows outlives it, and the
// exchange ends before it does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/cluster/coordination.h"
#include "common/compression/compressor.h"
#include "common/optimization/non_finite.h"
#include "common/params/chunk_map.h"
#include "common/params/partition_tree.h"
#include "common/privacy/mechanism.h"
#include "worker/client/push_pull.h"
#include "worker/data/batch_plan.h"
#include "worker/data/batcher.h"
#include "worker/data/other_shares.h"
#include "worker/models/model.h"
#include "worker/step/partition_gradient.h"

namespace sheaf::worker {

class StandIn {
 public:
  struct Parts {
    Model& model;
    const BatchPlan& plan;
    const Normaliser& normaliser;
    const params::ChunkMap& chunks;
    const compression::Compressor& compressor;
    const privacy::Mechanism& mechanism;
    PushPull& exchange;
    cluster::Coordination& coordination;
    OtherShares& shares;
    std::uint64_t seed;
    optimization::NonFinite non_finite;
  };
  explicit StandIn(const Parts& parts);

  // Pushes for the partitions of a share in a step whose parameters are here. False if their
  // examples are not here yet. Stops between two partitions when the step is over.
  bool compute(Step step, PartitionRange share);

  std::uint64_t computed() const { return computed_; }  // shares that were pushed in whole

 private:
  // What one node is pushed from, until its step is over.
  struct Pushed {
    AlignedBuffer<float> sum;
    std::vector<std::byte> encoded;
  };
  Pushed& room();
  std::uint64_t leaf(Step step, std::uint32_t partition, std::span<float> into);
  void push(Step step, PartitionRange node, std::uint64_t examples, Pushed& pushed);

  Parts parts_;
  PartitionGradient gradient_;
  params::PartitionTree tree_;
  std::map<std::uint32_t, Batcher::Fill> fills_;  // by the first partition of a share
  Batcher::Fill* fill_ = nullptr;
  Batch batch_;
  std::vector<AlignedBuffer<float>> deeper_;  // sums
  std::vector<std::unique_ptr<Pushed>> pushed_;
  std::size_t used_ = 0;  // of those, in this step
  Step step_ = 0;
  bool over_ = false;
  std::uint64_t computed_ = 0;
};

}  // namespace sheaf::worker
