// What makes the next version of a block of a chunk, for who holds it and for its replica.
#pragma once

#include <span>

#include "common/math/kernels.h"
#include "common/optimization/optimizer.h"

namespace sheaf::server {

// The optimizer's step (see there), or, of what is averaged, the mean itself:
//
//   out = gradient_scale * gradient
//
// which leaves `state` as it is.
inline bool next_version(const optimization::Optimizer& optimizer,
                         const optimization::OptimizerStep& step, std::span<const float> in,
                         std::span<const float> gradient, std::span<float> state,
                         std::span<float> out) {
  if (!step.group.averaged) return optimizer.step(step, in, gradient, state, out);
  const auto scale = static_cast<float>(step.gradient_scale);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = scale * gradient[i];
  return math::all_finite(out);
}

}  // namespace sheaf::server
