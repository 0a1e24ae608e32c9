#include "worker/models/losses/regression_loss.h"

#include <fmt/format.h>

#include <cmath>

namespace sheaf::worker {

std::optional<Mismatch> RegressionLoss::mismatch(std::size_t outputs, const Schema& schema) const {
  if (outputs == schema.targets) return std::nullopt;
  return Mismatch{fmt::format("{} outputs of the last layer", outputs),
                  fmt::format("{}, one for each target", schema.targets),
                  fmt::format("units = {} in the last layer", schema.targets)};
}

std::optional<std::string> RegressionLoss::bad_target(std::span<const float> targets,
                                                      std::size_t) const {
  for (const float target : targets) {
    if (!std::isfinite(target)) return fmt::format("target {}, expected a finite number", target);
  }
  return std::nullopt;
}

}  // namespace sheaf::worker
