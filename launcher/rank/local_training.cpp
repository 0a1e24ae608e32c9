#include "launcher/rank/local_training.h"

#include <algorithm>
#include <cmath>

#include "common/math/kernels.h"

namespace sheaf::launcher {

LocalTraining::LocalTraining(const RunConfig& config, const WorkerRole& role)
    : chunks_(role.model().layout(), config.network().chunk_bytes),
      layout_(role.model().layout()),
      model_(config.make_model(role.model().schema())),
      gradient_({.model = *model_,
                 .data = role.data(),
                 .plan = role.plan(),
                 .normaliser = role.normaliser(),
                 .prefetch = config.data().prefetch,
                 .seed = config.run().seed,
                 .sampler = role.sampler()}),
      optimizer_(config.make_optimizer()),
      schedule_(config.make_schedule()),
      clip_norm_(config.optimizer().clip_norm.value_or(0)),
      state_(layout_.size() * optimizer_->state_per_parameter()) {
  for (auto& version : parameters_) version = AlignedBuffer<float>(layout_.size());
  model_->initialise(parameters_[0].span(), config.run().seed);
}

void LocalTraining::compute() { examples_ = gradient_.run(step_, parameters()); }

void LocalTraining::optimize() {
  const std::span<const float> in = parameters();
  const std::span<float> gradient = gradient_.gradient();
  const std::span<float> out = parameters_[(step_ + 1) % 2].span();
  const std::size_t per_parameter = optimizer_->state_per_parameter();
  if (examples_ == 0) {  // its partitions have used up this epoch
    std::copy(in.begin(), in.end(), out.begin());
    ++step_;
    return;
  }
  optimization::OptimizerStep request;
  request.step = step_;
  request.rate = schedule_.rate(step_);
  request.gradient_scale = clip_scale() / static_cast<double>(examples_);
  for (const params::Chunk& chunk : chunks_.chunks()) {
    for (const params::GroupRange& range : chunk.ranges) {
      const std::size_t at = chunk.offset + range.offset;
      request.group = layout_.groups()[range.group];
      optimization::take_step(*optimizer_, request, in.subspan(at, range.size),
                              gradient.subspan(at, range.size),
                              state_.span().subspan(at * per_parameter, range.size * per_parameter),
                              out.subspan(at, range.size));
    }
  }
  ++step_;
}

// As the servers clip: by the norm of the mean gradient, its squares summed chunk by chunk.
double LocalTraining::clip_scale() const {
  if (clip_norm_ == 0) return 1;
  double squares = 0;
  for (const params::Chunk& chunk : chunks_.chunks()) {
    squares += math::sum_squares(gradient_.gradient().subspan(chunk.offset, chunk.size));
  }
  const double norm = std::sqrt(squares) / static_cast<double>(examples_);
  return norm > clip_norm_ ? clip_norm_ / norm : 1;
}

}  // namespace sheaf::launcher
