// Which examples each partition takes in each step, in closed form: nothing is remembered between
// steps, so any step of any partition can be recomputed by any process. Immutable; thread-safe.
//
// Of n training examples partition p has n_p = floor(n (p + 1) / P) - floor(n p / P) and takes
// b_p = floor(batch (p + 1) / P) - floor(batch p / P) a step, fewer in its last batch of an epoch
// and none after it. An epoch has max over p of ceil(n_p / b_p) steps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ids.h"

namespace sheaf::worker {

class BatchPlan {
 public:
  // `examples` in the training part and `batch` examples a step, each over all partitions.
  // REQUIRES: examples > 0, no problem(batch, partitions).
  BatchPlan(std::uint64_t examples, std::uint64_t batch, std::uint32_t partitions,
            std::uint64_t seed);

  // Why a step of `batch` examples cannot be shared by `partitions`, or nothing.
  static std::optional<std::string> problem(std::uint64_t batch, std::uint32_t partitions);

  Step steps_per_epoch() const { return steps_per_epoch_; }
  std::uint64_t epoch(Step step) const { return step / steps_per_epoch_; }
  std::uint32_t partitions() const { return partitions_; }
  std::uint64_t examples() const { return examples_; }

  // b_p: what `partition` takes in a step, if it has so many.
  std::uint64_t batch(std::uint32_t partition) const;
  // The most that it really takes: no more than it has.
  std::uint64_t rows(std::uint32_t partition) const;
  // How many examples `partition` takes in `step`; 0 when its epoch is used up.
  std::uint64_t count(Step step, std::uint32_t partition) const;
  // Writes their places in the partition's training share to `indices`, which it resizes. Allocates
  // nothing if that has had room for batch(partition).
  void indices(Step step, std::uint32_t partition, std::vector<std::uint64_t>& indices) const;

 private:
  std::uint64_t first_index(Step step, std::uint32_t partition) const;

  std::uint64_t examples_;
  std::uint64_t batch_;
  std::uint32_t partitions_;
  std::uint64_t seed_;
  Step steps_per_epoch_ = 0;
};

}  // namespace sheaf::worker
