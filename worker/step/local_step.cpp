#include "worker/step/local_step.h"

#include <algorithm>
#include <bit>

#include "common/math/kernels.h"

namespace sheaf::worker {
namespace {

std::uint64_t largest_batch(const BatchPlan& plan, PartitionRange hosted) {
  std::uint64_t largest = 1;
  for (std::uint32_t p = hosted.first; p < hosted.end(); ++p) {
    largest = std::max(largest, plan.rows(p));
  }
  return largest;
}

}  // namespace

LocalStep::LocalStep(const Parts& parts)
    : parts_(parts),
      tree_(parts.plan.partitions()),
      nodes_(tree_.cover(parts.data.hosted())),
      batcher_({.hosted = parts.data.hosted(),
                .first = 0,
                .prefetch = parts.prefetch,
                .examples = largest_batch(parts.plan, parts.data.hosted()),
                .schema = parts.model.schema()},
               training_batches(parts.data, parts.plan, parts.normaliser, parts.sampler)) {
  parts.model.reserve(largest_batch(parts.plan, parts.data.hosted()));
  std::size_t buffers = 1;
  for (const PartitionRange node : nodes_) {
    const auto levels = static_cast<std::size_t>(std::bit_width(node.count - 1));
    buffers = std::max(buffers, levels + (node == nodes_.front() ? 1 : 2));
  }
  for (std::size_t d = 0; d < buffers; ++d) sums_.emplace_back(parts.model.layout().size());
}

std::uint64_t LocalStep::run(Step step, std::span<const float> parameters) {
  step_ = step;
  examples_ = 0;
  bool begun = false;
  for (const PartitionRange node : nodes_) {
    const bool has_examples = sum(node, begun ? 1 : 0, parameters);
    if (begun && has_examples) math::add(sums_[1].span(), sums_[0].span());
    begun = begun || has_examples;
  }
  return examples_;
}

// Leaves the sum over `node` in sums_[depth]; false if nobody in it has examples.
bool LocalStep::sum(PartitionRange node, std::size_t depth, std::span<const float> parameters) {
  if (node.count == 1) return leaf(node.first, depth, parameters);
  const bool left = sum(tree_.left(node), depth, parameters);
  const bool right = sum(tree_.right(node), left ? depth + 1 : depth, parameters);
  if (left && right) math::add(sums_[depth + 1].span(), sums_[depth].span());
  return left || right;
}

bool LocalStep::leaf(std::uint32_t partition, std::size_t depth,
                     std::span<const float> parameters) {
  const Batch& batch = batcher_.next(step_, partition);
  if (parts_.plan.count(step_, partition) == 0) return false;
  parts_.model.reserve(batch.examples);  // a sample may be larger than expected
  parts_.model.gradient(parameters, batch, {parts_.seed, step_, partition}, sums_[depth].span());
  examples_ += parts_.plan.count(step_, partition);
  return true;
}

}  // namespace sheaf::worker
