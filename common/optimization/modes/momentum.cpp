#include <algorithm>

#include "common/config/section.h"
#include "common/math/kernels.h"
#include "common/optimization/optimizer.h"

namespace sheaf::optimization {
namespace {

// Heavy ball (Polyak 1964) and Nesterov's variant (1983), in the form of Sutskever et al. (ICML
// 2013) that PyTorch's SGD has: the rate multiplies the velocity where it is used, so a new rate
// acts at once. One float of state, the velocity v, from 0:
//   g   = gradient_scale * sum + decay * in
//   v   = momentum * v + g
//   out = in - rate * v                     or, with nesterov, in - rate * (g + momentum * v)
class Momentum final : public Optimizer {
 public:
  explicit Momentum(const config::Section& section)
      : decay_(section.real("decay", 0.0, {0.0})),
        momentum_(section.real("momentum", 0.9, {0.0, config::kBelowOne})),
        nesterov_(section.boolean("nesterov", false)) {}

  std::size_t state_per_parameter() const override { return 1; }

  bool step(const OptimizerStep& step, std::span<const float> in, std::span<const float> gradient,
            std::span<float> state, std::span<float> out) const override {
    if (step.group.rate_scale == 0) {  // frozen: the same bits
      std::copy(in.begin(), in.end(), out.begin());
      return math::all_finite(gradient);
    }
    return math::momentum_step({.scale = static_cast<float>(step.gradient_scale),
                                .rate = static_cast<float>(step.rate * step.group.rate_scale),
                                .decay = static_cast<float>(decay_ * step.group.decay_scale),
                                .momentum = static_cast<float>(momentum_),
                                .nesterov = nesterov_},
                               in, gradient, state, out, step.streamed);
  }

 private:
  double decay_;
  double momentum_;
  bool nesterov_;
};

std::unique_ptr<Optimizer> make_momentum(const config::Section& section) {
  return std::make_unique<Momentum>(section);
}

}  // namespace

extern const Mode<Optimizer> optimizer_momentum = {
    "gradient descent with a velocity; nesterov = true looks ahead", &make_momentum};

}  // namespace sheaf::optimization
