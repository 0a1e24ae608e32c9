// The learning rate of each step. Const and thread-safe.
#pragma once

#include "common/base/ids.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::optimization {

// Constant, with a linear warm-up: rate(t) = rate * min(1, (t + 1) / warmup_steps).
class Schedule {
 public:
  // Reads `rate` (> 0) and `warmup_steps` (default 0) of [optimizer].
  explicit Schedule(const config::Section& optimizer);
  Schedule(double rate, Step warmup_steps) : rate_(rate), warmup_steps_(warmup_steps) {}
  double rate(Step step) const;

 private:
  double rate_;
  Step warmup_steps_;
};

}  // namespace sheaf::optimization
