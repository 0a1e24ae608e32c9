// The learning rate of each step. Const and thread-safe.
#pragma once

#include "common/base/ids.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::optimization {

// A linear warm-up, rate(t) = rate * (t + 1) / warmup_steps; then constant, or falling linearly to
// 0 at step falls_until: rate(t) = rate * (falls_until - t) / (falls_until - warmup_steps).
class Schedule {
 public:
  // Reads `rate` (> 0), `warmup_steps` and `falls_until` (default 0: it stays) of [optimizer].
  explicit Schedule(const config::Section& optimizer);
  Schedule(double rate, Step warmup_steps, Step falls_until = 0)
      : rate_(rate), warmup_steps_(warmup_steps), falls_until_(falls_until) {}
  double rate(Step step) const;

 private:
  double rate_;
  Step warmup_steps_;
  Step falls_until_;
};

}  // namespace sheaf::optimization
