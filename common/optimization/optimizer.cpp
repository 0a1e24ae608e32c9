#include "common/optimization/optimizer.h"

#include "common/math/kernels.h"

namespace sheaf::optimization {

bool take_step(const Optimizer& optimizer, const OptimizerStep& step, std::span<const float> in,
               std::span<const float> gradient, std::span<float> state, std::span<float> out) {
  const auto scale = static_cast<float>(step.gradient_scale);
  if (step.group.averaged) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = scale * gradient[i];
    return math::all_finite(out);
  }
  const params::Descent& own = step.group.own;
  if (own.rate == 0) return optimizer.step(step, in, gradient, state, out);
  for (std::size_t i = 0; i < in.size(); ++i) {
    out[i] = in[i] - own.rate * (scale * gradient[i] - own.towards);
  }
  return math::all_finite(gradient);
}

}  // namespace sheaf::optimization
