#include <algorithm>

#include "common/config/section.h"
#include "common/math/kernels.h"
#include "common/optimization/optimizer.h"

namespace sheaf::optimization {
namespace {

// Stochastic gradient descent (Robbins and Monro 1951) with L2 decay:
//   g   = gradient_scale * sum + decay * in
//   out = in - rate * g
class Sgd final : public Optimizer {
 public:
  explicit Sgd(const config::Section& section) : decay_(section.real("decay", 0.0, {0.0})) {}

  std::size_t state_per_parameter() const override { return 0; }

  bool step(const OptimizerStep& step, std::span<const float> in, std::span<const float> gradient,
            std::span<float>, std::span<float> out) const override {
    if (step.group.rate_scale == 0) {  // frozen: the same bits
      std::copy(in.begin(), in.end(), out.begin());
      return math::all_finite(gradient);
    }
    return math::sgd_step({.scale = static_cast<float>(step.gradient_scale),
                           .rate = static_cast<float>(step.rate * step.group.rate_scale),
                           .decay = static_cast<float>(decay_ * step.group.decay_scale)},
                          in, gradient, out, step.streamed);
  }

 private:
  double decay_;
};

std::unique_ptr<Optimizer> make_sgd(const config::Section& section) {
  return std::make_unique<Sgd>(section);
}

}  // namespace

extern const Mode<Optimizer> optimizer_sgd = {"plain gradient descent", &make_sgd};

}  // namespace sheaf::optimization
