// Training in one thread of one process, without servers: gradient, sum over the hosted partitions,
// optimizer, next. What the parameter server's price is measured against, and with one worker the
// same bits as a job's (a norm that clips may differ in its last bits: servers sum it in smaller
// blocks). Owns its parameters and optimizer state; belongs to one thread.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/optimization/optimizer.h"
#include "common/optimization/schedule.h"
#include "launcher/config/run_config.h"
#include "launcher/rank/roles.h"
#include "worker/step/local_step.h"

namespace sheaf::launcher {

class LocalTraining {
 public:
  // The partitions that `role` hosts. REQUIRES: its load() has returned; both outlive this.
  LocalTraining(const RunConfig& config, const WorkerRole& role);

  // The two halves of a step.
  void compute();
  void optimize();
  // Before the first step; then of the last step that was optimized.
  std::span<const float> parameters() const { return parameters_[step_ % 2].span(); }

 private:
  double clip_scale() const;

  params::ChunkMap chunks_;
  const params::Layout& layout_;
  std::unique_ptr<worker::Model> model_;
  worker::LocalStep gradient_;
  std::unique_ptr<optimization::Optimizer> optimizer_;
  optimization::Schedule schedule_;
  double clip_norm_;
  AlignedBuffer<float> parameters_[2];  // by the parity of the step
  AlignedBuffer<float> state_;
  Step step_ = 0;
  std::uint64_t examples_ = 0;  // in the gradient of this step
};

}  // namespace sheaf::launcher
