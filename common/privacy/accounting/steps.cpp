#include "common/privacy/accounting/steps.h"

#include <cmath>

#include "common/base/error.h"

namespace sheaf::privacy {

void check_history(History history) {
  constexpr std::uint64_t kMostSteps = 1'000'000'000;
  std::uint64_t total = 0;
  for (const GaussianSteps& steps : history) {
    if (!(steps.sampling_rate > 0 && steps.sampling_rate <= 1)) {
      fail(Fault::config, "sampling rate: found {}, expected a number above 0 and up to 1",
           steps.sampling_rate);
    }
    if (!(steps.noise > 0 && std::isfinite(steps.noise))) {
      fail(Fault::config, "noise: found {}, expected a number above 0", steps.noise);
    }
    if (steps.count > kMostSteps) {
      fail(Fault::config, "steps: found {}, expected 1 to {}", steps.count, kMostSteps);
    }
    total += steps.count;
  }
  if (total < 1 || total > kMostSteps) {
    fail(Fault::config, "steps: found {}, expected 1 to {}", total, kMostSteps);
  }
}

void check_delta(double delta) {
  if (!(delta > 0 && delta < 1)) {
    fail(Fault::config, "delta: found {}, expected a number between 0 and 1", delta);
  }
}

void check_epsilon(double epsilon) {
  if (!(epsilon > 0 && std::isfinite(epsilon))) {
    fail(Fault::config, "epsilon: found {}, expected a number above 0", epsilon);
  }
}

}  // namespace sheaf::privacy
