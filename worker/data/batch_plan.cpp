#include "worker/data/batch_plan.h"

#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "common/base/random.h"
#include "worker/data/split.h"

namespace sheaf::worker {

BatchPlan::BatchPlan(std::uint64_t examples, std::uint64_t batch, std::uint32_t partitions,
                     std::uint64_t seed, Sampling sampling)
    : examples_(examples),
      batch_(batch),
      partitions_(partitions),
      seed_(seed),
      sampling_(sampling) {
  check(examples > 0 && !problem(batch, partitions), "batches of a plan");
  if (sampling == Sampling::poisson) {
    check(batch <= examples, "a sample is no larger than what it is taken from");
    steps_per_epoch_ = examples / batch;
    return;
  }
  for (std::uint32_t p = 0; p < partitions; ++p) {
    const std::uint64_t own = share_size(examples, p, partitions);
    const std::uint64_t step = share_size(batch, p, partitions);
    steps_per_epoch_ = std::max(steps_per_epoch_, (own + step - 1) / step);
  }
}

std::optional<std::string> BatchPlan::problem(std::uint64_t batch, std::uint32_t partitions) {
  if (partitions > 0 && batch >= partitions) return std::nullopt;
  return fmt::format(
      "a batch of {} cannot give each of {} partitions an example a step; raise "
      "data.batch or lower run.partitions (or run.workers)",
      batch, partitions);
}

std::uint64_t BatchPlan::batch(std::uint32_t partition) const {
  return share_size(batch_, partition, partitions_);
}

std::uint64_t BatchPlan::rows(std::uint32_t partition) const {
  const std::uint64_t own = share_size(examples_, partition, partitions_);
  if (sampling_ != Sampling::poisson) return std::min(batch(partition), own);
  const double rate = static_cast<double>(batch_) / static_cast<double>(examples_);
  const double mean = rate * static_cast<double>(own);
  return std::min(own, static_cast<std::uint64_t>(mean + 8 * std::sqrt(mean * (1 - rate)) + 8));
}

std::uint64_t BatchPlan::first_index(Step step, std::uint32_t partition) const {
  return step % steps_per_epoch_ * batch(partition);
}

std::uint64_t BatchPlan::count(Step step, std::uint32_t partition) const {
  if (sampling_ == Sampling::poisson) return batch(partition);
  const std::uint64_t own = share_size(examples_, partition, partitions_);
  const std::uint64_t first = first_index(step, partition);
  return first < own ? std::min(batch(partition), own - first) : 0;
}

void BatchPlan::indices(Step step, std::uint32_t partition,
                        std::vector<std::uint64_t>& indices) const {
  check(sampling_ != Sampling::poisson, "samples are drawn by a PoissonSampler");
  indices.resize(count(step, partition));
  if (indices.empty()) return;
  const Permutation order(share_size(examples_, partition, partitions_), seed_, Purpose::shuffle,
                          sampling_ == Sampling::cyclic ? 0 : epoch(step), partition);
  const std::uint64_t first = first_index(step, partition);
  for (std::uint64_t i = 0; i < indices.size(); ++i) indices[i] = order(first + i);
}

}  // namespace sheaf::worker
