#include "common/optimization/schedule.h"

#include "common/config/section.h"

namespace sheaf::optimization {

Schedule::Schedule(const config::Section& optimizer)
    : rate_(optimizer.real("rate", std::nullopt, {config::kAboveZero})),
      warmup_steps_(static_cast<Step>(optimizer.integer("warmup_steps", 0, {0}))) {}

double Schedule::rate(Step step) const {
  if (step >= warmup_steps_) return rate_;  // also when there is no warm-up
  return rate_ * (static_cast<double>(step) + 1) / static_cast<double>(warmup_steps_);
}

}  // namespace sheaf::optimization
