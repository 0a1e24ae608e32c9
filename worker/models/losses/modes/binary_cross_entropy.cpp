#include <fmt/format.h>

#include "common/math/elementary.h"
#include "worker/models/losses/loss.h"

namespace sheaf::worker {
namespace {

// Cross-entropy of a class t, 0 or 1, and a logit z, with s the sigmoid:
//   loss = -t log s(z) - (1 - t) log s(-z) = max(z, 0) - t z + log(1 + e^-|z|)
//   d loss / dz = s(z) - t = (1 - t) s(z) - t s(-z)
// The right-hand forms neither overflow nor cancel.
class BinaryCrossEntropy final : public Loss {
 public:
  Task task() const override { return Task::binary_classification; }

  std::optional<Mismatch> mismatch(std::size_t outputs, const Schema& schema) const override {
    if (schema.targets != 1) {
      return Mismatch{fmt::format("{} targets per example", schema.targets),
                      "one target, the class 0 or 1", "\"mse\""};
    }
    if (outputs == 1) return std::nullopt;
    return Mismatch{fmt::format("{} outputs of the last layer", outputs), "1, the logit of class 1",
                    "units = 1 in the last layer, or \"softmax_cross_entropy\""};
  }

  std::optional<std::string> bad_target(std::span<const float> targets,
                                        std::size_t) const override {
    if (targets[0] == 0.0F || targets[0] == 1.0F) return std::nullopt;
    return fmt::format("label {}, expected 0 or 1", targets[0]);
  }

  double sum(std::size_t examples, std::span<const float> outputs, std::span<const float> targets,
             std::span<float> gradient) const override {
    double sum = 0;
    for (std::size_t i = 0; i < examples; ++i) {
      const float z = outputs[i], t = targets[i];
      const float size = z < 0 ? -z : z;
      sum += (z > 0 ? z : 0.0) - static_cast<double>(t) * z +
             math::log_1_plus(static_cast<double>(math::exp_of(-size)));
      if (!gradient.empty()) gradient[i] = (1 - t) * math::sigmoid_of(z) - t * math::sigmoid_of(-z);
    }
    return sum;
  }
};

std::unique_ptr<Loss> make_binary_cross_entropy(const config::Section&) {
  return std::make_unique<BinaryCrossEntropy>();
}

}  // namespace

extern const Mode<Loss> loss_binary_cross_entropy = {"two classes, one logit",
                                                     &make_binary_cross_entropy};

}  // namespace sheaf::worker
