// The gradient of a training step without any exchange: each hosted partition's batch, forward and
// backward, summed along the partition tree in memory. The floor that `sheaf bench step` holds a
// real step against, so it waits for nobody and cuts nothing. Owns its batches and gradients,
// allocated once; belongs to one thread. What it borrows outlives it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/params/partition_tree.h"
#include "worker/data/batch_plan.h"
#include "worker/data/batcher.h"
#include "worker/data/normaliser.h"
#include "worker/data/partition.h"
#include "worker/data/poisson_sampler.h"
#include "worker/models/model.h"

namespace sheaf::worker {

class LocalStep {
 public:
  struct Parts {
    Model& model;
    const PartitionSet& data;
    const BatchPlan& plan;
    const Normaliser& normaliser;
    std::size_t prefetch;  // batches
    std::uint64_t seed;
    const PoissonSampler* sampler = nullptr;  // of a plan of Poisson sampling
  };
  explicit LocalStep(const Parts& parts);

  // Leaves in gradient() the sum over the hosted partitions, with the bits that the servers' sum
  // has if all partitions are hosted here. Returns what they count for. REQUIRES: steps from 0 on.
  std::uint64_t run(Step step, std::span<const float> parameters);
  std::span<float> gradient() { return sums_.front().span(); }
  std::span<const float> gradient() const { return sums_.front().span(); }

 private:
  bool sum(PartitionRange node, std::size_t depth, std::span<const float> parameters);
  bool leaf(std::uint32_t partition, std::size_t depth, std::span<const float> parameters);

  Parts parts_;
  params::PartitionTree tree_;
  std::vector<PartitionRange> nodes_;       // that cover the hosted partitions, ascending
  std::vector<AlignedBuffer<float>> sums_;  // by depth in the tree
  Step step_ = 0;
  std::uint64_t examples_ = 0;
  Batcher batcher_;
};

}  // namespace sheaf::worker
