#include "common/optimization/from_differences.h"

#include <utility>

#include "common/math/kernels.h"

namespace sheaf::optimization {
namespace {

class FromDifferences final : public Optimizer {
 public:
  FromDifferences(std::unique_ptr<Optimizer> optimizer, std::uint64_t examples)
      : optimizer_(std::move(optimizer)), scale_(1 / static_cast<double>(examples)) {}

  std::size_t state_per_parameter() const override { return optimizer_->state_per_parameter() + 1; }

  bool step(const OptimizerStep& step, std::span<const float> in, std::span<const float> news,
            std::span<float> state, std::span<float> out) const override {
    const std::size_t others = optimizer_->state_per_parameter() * in.size();
    const std::span<float> gradient = state.subspan(others, in.size());
    math::add(news, gradient);
    OptimizerStep whole = step;
    whole.gradient_scale = scale_;
    return optimizer_->step(whole, in, gradient, state.first(others), out);
  }

 private:
  std::unique_ptr<Optimizer> optimizer_;
  double scale_;
};

}  // namespace

std::unique_ptr<Optimizer> from_differences(std::unique_ptr<Optimizer> optimizer,
                                            std::uint64_t examples) {
  return std::make_unique<FromDifferences>(std::move(optimizer), examples);
}

}  // namespace sheaf::optimization
