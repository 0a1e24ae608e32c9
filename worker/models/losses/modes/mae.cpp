#include <cmath>

#include "worker/models/losses/regression_loss.h"

namespace sheaf::worker {
namespace {

// Mean absolute error. Of one example with T targets t and outputs y:
//   loss = (1 / T) sum |y - t|        d loss / dy = sign(y - t) / T, and 0 where y = t
class MeanAbsoluteError final : public RegressionLoss {
 public:
  double sum(std::size_t examples, std::span<const float> outputs, std::span<const float> targets,
             std::span<float> gradient) const override {
    const double share = static_cast<double>(examples) / static_cast<double>(outputs.size());
    double distance = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const double error = static_cast<double>(outputs[i]) - static_cast<double>(targets[i]);
      distance += std::abs(error);
      if (gradient.empty()) continue;
      const double sign = error > 0 ? 1 : error < 0 ? -1 : error;  // what is not a number stays so
      gradient[i] = static_cast<float>(share * sign);
    }
    return share * distance;
  }
};

std::unique_ptr<Loss> make_mae(const config::Section&) {
  return std::make_unique<MeanAbsoluteError>();
}

}  // namespace

extern const Mode<Loss> loss_mae = {
    "mean over the targets of the absolute error; outliers count no more than others", &make_mae};

}  // namespace sheaf::worker
