#include "worker/models/losses/regression_loss.h"

namespace sheaf::worker {
namespace {

// Mean squared error. Of one example with T targets t and outputs y:
//   loss = (1 / T) sum (y - t)^2        d loss / dy = (2 / T) (y - t)
class MeanSquaredError final : public RegressionLoss {
 public:
  double sum(std::size_t examples, std::span<const float> outputs, std::span<const float> targets,
             std::span<float> gradient) const override {
    const double share = static_cast<double>(examples) / static_cast<double>(outputs.size());
    double squares = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const double error = static_cast<double>(outputs[i]) - static_cast<double>(targets[i]);
      squares += error * error;
      if (!gradient.empty()) gradient[i] = static_cast<float>(2.0 * share * error);
    }
    return share * squares;
  }
};

std::unique_ptr<Loss> make_mse(const config::Section&) {
  return std::make_unique<MeanSquaredError>();
}

}  // namespace

extern const Mode<Loss> loss_mse = {"mean over the targets of the squared error", &make_mse};

}  // namespace sheaf::worker
