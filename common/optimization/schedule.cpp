#include "common/optimization/schedule.h"

#include <fmt/format.h>

#include "common/config/section.h"

namespace sheaf::optimization {

Schedule::Schedule(const config::Section& optimizer)
    : rate_(optimizer.real("rate", std::nullopt, {config::kAboveZero})),
      warmup_steps_(static_cast<Step>(optimizer.integer("warmup_steps", 0, {0}))),
      falls_until_(static_cast<Step>(optimizer.integer("falls_until", 0, {0}))) {
  if (falls_until_ == 0 || falls_until_ > warmup_steps_) return;
  optimizer.fault("falls_until", fmt::format("{}", falls_until_),
                  fmt::format("0, or a step behind the warm-up of {}", warmup_steps_),
                  fmt::format("{}", 10 * warmup_steps_));
}

double Schedule::rate(Step step) const {
  if (step >= warmup_steps_) {  // also when there is no warm-up
    if (falls_until_ == 0) return rate_;
    if (step >= falls_until_) return 0;
    return rate_ * static_cast<double>(falls_until_ - step) /
           static_cast<double>(falls_until_ - warmup_steps_);
  }
  return rate_ * (static_cast<double>(step) + 1) / static_cast<double>(warmup_steps_);
}

}  // namespace sheaf::optimization
