#include <fmt/format.h>

#include "common/base/error.h"
#include "common/math/kernels.h"
#include "worker/models/losses/loss.h"

namespace sheaf::worker {
namespace {

bool is_class(float label, std::size_t classes) {
  return label >= 0.0F && label < static_cast<float>(classes) &&
         static_cast<float>(static_cast<std::size_t>(label)) == label;
}

// Cross-entropy of a class k and logits z, with p the softmax of z:
//   loss = -log p_k = log(sum e^z) - z_k        d loss / dz = p - (1 at k, else 0)
class SoftmaxCrossEntropy final : public Loss {
 public:
  Task task() const override { return Task::classification; }

  std::optional<Mismatch> mismatch(std::size_t outputs, const Schema& schema) const override {
    if (schema.targets != 1) {
      return Mismatch{fmt::format("{} targets per example", schema.targets),
                      "one target, the class 0, 1, 2, …", "\"mse\""};
    }
    if (outputs >= 2) return std::nullopt;
    return Mismatch{fmt::format("{} output of the last layer", outputs),
                    "a logit for each class, at least 2",
                    "as many units in the last layer as there are classes, or "
                    "\"binary_cross_entropy\""};
  }

  std::optional<std::string> bad_target(std::span<const float> targets,
                                        std::size_t outputs) const override {
    if (is_class(targets[0], outputs)) return std::nullopt;
    return fmt::format("label {}, expected 0..{}", targets[0], outputs - 1);
  }

  double sum(std::size_t examples, std::span<const float> outputs, std::span<const float> targets,
             std::span<float> gradient) const override {
    const std::size_t classes = outputs.size() / examples;
    double sum = 0;
    for (std::size_t i = 0; i < examples; ++i) {
      check(is_class(targets[i], classes), "labels were checked when they were read");
      const auto label = static_cast<std::size_t>(targets[i]);
      const std::span<const float> logits = outputs.subspan(i * classes, classes);
      const std::span<float> row =
          gradient.empty() ? gradient : gradient.subspan(i * classes, classes);
      sum += math::softmax(logits, row) - static_cast<double>(logits[label]);
      if (!row.empty()) row[label] -= 1.0F;
    }
    return sum;
  }
};

std::unique_ptr<Loss> make_softmax_cross_entropy(const config::Section&) {
  return std::make_unique<SoftmaxCrossEntropy>();
}

}  // namespace

extern const Mode<Loss> loss_softmax_cross_entropy = {"several classes, a logit for each",
                                                      &make_softmax_cross_entropy};

}  // namespace sheaf::worker
