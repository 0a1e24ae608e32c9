// Which examples each partition takes in each step, in closed form: nothing is remembered between
// steps, so any step of any partition can be recomputed by any process. Immutable; thread-safe.
//
// With shuffling the examples of a partition stand in an order of their own in each epoch; cyclic
// is one such order for all epochs, so that an example comes again after exactly so many steps.
// Of n training examples partition p has n_p = floor(n (p + 1) / P) - floor(n p / P) and takes
// b_p = floor(batch (p + 1) / P) - floor(batch p / P) a step, fewer in its last batch of an epoch
// and none after it. An epoch has max over p of ceil(n_p / b_p) steps.
//
// With Poisson sampling each example takes part in each step with probability batch / n,
// independently of all others and all other steps (PoissonSampler draws them), so that batches
// differ in size and may be empty. What the step is divided by is the expected number, which is no
// secret: each partition counts for b_p, whatever it has drawn. An epoch has floor(n / batch)
// steps. Where users are sampled, `examples` and `batch` count users, and so does b_p.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"

namespace sheaf::worker {

enum class Sampling { shuffle, poisson, cyclic };
// The words of [data] sampling, in the order of the enum.
inline constexpr std::array<std::string_view, 3> kSamplings = {"shuffle", "poisson", "cyclic"};

class BatchPlan {
 public:
  // `examples` in the training part and `batch` examples a step, each over all partitions.
  // REQUIRES: examples > 0, no problem(batch, partitions); with Poisson sampling batch <= examples.
  BatchPlan(std::uint64_t examples, std::uint64_t batch, std::uint32_t partitions,
            std::uint64_t seed, Sampling sampling = Sampling::shuffle);

  // Why a step of `batch` examples cannot be shared by `partitions`, or nothing.
  static std::optional<std::string> problem(std::uint64_t batch, std::uint32_t partitions);

  Step steps_per_epoch() const { return steps_per_epoch_; }
  std::uint64_t epoch(Step step) const { return step / steps_per_epoch_; }
  std::uint32_t partitions() const { return partitions_; }
  std::uint64_t examples() const { return examples_; }
  Sampling sampling() const { return sampling_; }

  // b_p: what `partition` takes in a step, if it has so many.
  std::uint64_t batch(std::uint32_t partition) const;
  // The room that a batch needs. Without Poisson sampling it never has more. With Poisson sampling
  // that is the mean, eight deviations and eight: a batch that is larger, one in more than 10^12,
  // needs more. Of users it is room for an example of each; their batches grow with the first ones.
  std::uint64_t rows(std::uint32_t partition) const;
  // What `partition` counts for in `step`. Without Poisson sampling that is how many examples it
  // takes; 0 when its epoch is used up.
  std::uint64_t count(Step step, std::uint32_t partition) const;
  // Writes their places in the partition's training share to `indices`, which it resizes. Allocates
  // nothing if that has had room for batch(partition). REQUIRES: no Poisson sampling.
  void indices(Step step, std::uint32_t partition, std::vector<std::uint64_t>& indices) const;

 private:
  std::uint64_t first_index(Step step, std::uint32_t partition) const;

  std::uint64_t examples_;
  std::uint64_t batch_;
  std::uint32_t partitions_;
  std::uint64_t seed_;
  Sampling sampling_;
  Step steps_per_epoch_ = 0;
};

}  // namespace sheaf::worker
