// A partition's own way through a round of local steps (McMahan et al., AISTATS 2017; Stich, ICLR
// 2019): from the parameters it goes one step of an inner optimizer for each part of the round's
// examples, and brings back how far it came, as if that were a gradient. The servers' optimizer
// takes the mean over the partitions, weighted by examples: sgd at rate 1 is plain averaging,
// momentum with nesterov the outer step of DiLoCo (Douillard et al., 2023), adam FedAdam (Reddi et
// al., ICLR 2021).
//
// The inner optimizer begins anew in each round, so a round is a function of parameters, examples
// and key alone: any process computes it to the same bits. Owns its memory, allocated once; belongs
// to the compute thread. What it borrows outlives it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "common/base/aligned_buffer.h"
#include "common/optimization/non_finite.h"
#include "common/optimization/optimizer.h"
#include "common/optimization/schedule.h"
#include "worker/models/model.h"

namespace sheaf::worker {

// What a job says of its local steps.
struct LocalSteps {
  std::uint32_t steps = 1;  // of a round
  const optimization::Optimizer& optimizer;
  const optimization::Schedule& schedule;  // over all local steps of the partition
  optimization::NonFinite non_finite = optimization::NonFinite::abort;
};

class Replica {
 public:
  Replica(Model& model, const LocalSteps& local, std::uint64_t seed);
  // Of the parts of a round of so many examples.
  static std::size_t largest_part(const LocalSteps& local, std::size_t most) {
    return (most + local.steps - 1) / local.steps;
  }

  // Takes the round of `partition` in step `step`. A whole round has `most` examples, cut into
  // parts as equal as can be; a shorter one ends earlier. Leaves examples * (parameters - where it
  // ended) in `way`, and returns the sum of the losses on the way. If a gradient is not finite
  // it throws Fault::diverged, or the way and the loss are no numbers.
  // REQUIRES: parameters and `way` are whole vectors, round is not empty.
  double run(Step step, std::uint32_t partition, std::span<const float> parameters,
             const Batch& round, std::size_t most, std::span<float> way);

 private:
  std::span<float> take(Step local_step, Step of_round, std::span<const float> from,
                        std::span<const float> gradient, std::size_t examples);

  Model& model_;
  LocalSteps local_;
  std::uint64_t seed_;
  Batch part_;
  std::array<AlignedBuffer<float>, 2> at_;  // by the parity of the step within the round
  AlignedBuffer<float> state_;              // of the optimizer, tensor by tensor
};

}  // namespace sheaf::worker
