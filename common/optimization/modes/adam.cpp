#include <algorithm>
#include <cmath>

#include "common/config/section.h"
#include "common/math/kernels.h"
#include "common/optimization/optimizer.h"

namespace sheaf::optimization {
namespace {

// Adam (Kingma and Ba, ICLR 2015, algorithm 1) with bias correction. Two floats of state per
// parameter, the moments m and v, from 0; t = step + 1:
//   g   = gradient_scale * sum + decay * in
//   m   = beta1 * m + (1 - beta1) * g
//   v   = beta2 * v + (1 - beta2) * g * g
//   out = in - rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
// With decoupled = true it is AdamW (Loshchilov and Hutter, ICLR 2019): decay * in stays out of g
// and is added to what the rate multiplies. L2 decay and the defaults are those of PyTorch's Adam.
class Adam final : public Optimizer {
 public:
  explicit Adam(const config::Section& section)
      : decay_(section.real("decay", 0.0, {0.0})),
        decoupled_(section.boolean("decoupled", false)),
        beta1_(static_cast<float>(section.real("beta1", 0.9, {0.0, 0.999999}))),
        beta2_(static_cast<float>(section.real("beta2", 0.999, {0.0, 0.999999}))),
        epsilon_(section.real("epsilon", 1e-8, {1e-30, 1.0})) {}

  std::size_t state_per_parameter() const override { return 2; }

  bool step(const OptimizerStep& step, std::span<const float> in, std::span<const float> gradient,
            std::span<float> state, std::span<float> out) const override {
    if (step.group.rate_scale == 0) {  // frozen: the same bits
      std::copy(in.begin(), in.end(), out.begin());
      return math::all_finite(gradient);
    }
    const auto decay = static_cast<float>(decay_ * step.group.decay_scale);
    return math::adam_step({.scale = static_cast<float>(step.gradient_scale),
                            .rate = static_cast<float>(step.rate * step.group.rate_scale),
                            .decay = decoupled_ ? 0.0F : decay,
                            .decoupled = decoupled_ ? decay : 0.0F,
                            .beta1 = beta1_,
                            .beta2 = beta2_,
                            .epsilon = static_cast<float>(epsilon_),
                            .correction1 = correction(beta1_, step.step),
                            .correction2 = correction(beta2_, step.step)},
                           in, gradient, state.first(in.size()), state.last(in.size()), out,
                           step.streamed);
  }

 private:
  // 1 - beta^t, from the very beta that the moments use: the rounding of 0.999 to float alone moves
  // 1 - beta2 by 5e-5, and cancels only if both sides have it.
  static float correction(float beta, Step step) {
    return static_cast<float>(1 -
                              std::pow(static_cast<double>(beta), static_cast<double>(step) + 1));
  }

  double decay_;
  bool decoupled_;
  float beta1_;
  float beta2_;
  double epsilon_;
};

std::unique_ptr<Optimizer> make_adam(const config::Section& section) {
  return std::make_unique<Adam>(section);
}

}  // namespace

extern const Mode<Optimizer> optimizer_adam = {
    "steps scaled by running moments of the gradient; decoupled = true is AdamW", &make_adam};

}  // namespace sheaf::optimization
