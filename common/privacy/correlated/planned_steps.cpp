#include "common/privacy/correlated/planned_steps.h"

#include <cmath>
#include <vector>

#include "common/base/error.h"
#include "common/privacy/correlated/prefix_factor.h"

namespace sheaf::privacy {

double sensitivity(const PlannedSteps& steps) {
  if (steps.count > kMostPlannedSteps) {
    fail(Fault::config, "{} steps that share noise, expected at most {}", steps.count,
         kMostPlannedSteps);
  }
  const std::vector<std::uint32_t> times(steps.count, 1);
  return std::sqrt(PrefixFactor(steps.bands).squared_sensitivity(steps.between, times));
}

GaussianSteps as_one(const PlannedSteps& steps, double noise) {
  return {1, noise / sensitivity(steps), 1};
}

double noise_for(double epsilon, const PlannedSteps& steps, double delta, Adjacency adjacency,
                 Method method) {
  const double of_one = noise_for(epsilon, GaussianSteps{1, 1, 1}, delta, adjacency, method);
  return std::ceil(of_one * sensitivity(steps) * 1e6) / 1e6;
}

}  // namespace sheaf::privacy
