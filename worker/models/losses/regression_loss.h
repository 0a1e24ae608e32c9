// What all losses have in common whose targets are numbers, one for each output. Const and
// thread-safe.
#pragma once

#include "worker/models/losses/loss.h"

namespace sheaf::worker {

class RegressionLoss : public Loss {
 public:
  Task task() const override { return Task::regression; }
  std::optional<Mismatch> mismatch(std::size_t outputs, const Schema& schema) const override;
  std::optional<std::string> bad_target(std::span<const float> targets,
                                        std::size_t outputs) const override;
};

}  // namespace sheaf::worker
