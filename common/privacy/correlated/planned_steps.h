// What a job of so many steps that share noise comes to before it has taken any: all of its
// releases are one of the Gaussian mechanism (prefix_factor.h). Plain maths.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/privacy/accounting/accountant.h"

namespace sheaf::privacy {

// More are not looked at: a figure of each is held.
inline constexpr std::uint64_t kMostPlannedSteps = 10'000'000;

// REQUIRES: no zero. An example takes part in every `between`-th step.
struct PlannedSteps {
  std::size_t bands = 1;
  std::uint64_t count = 1;
  std::uint64_t between = 1;
};

// The most by which all releases of C x change when what one example contributes becomes 0, in
// units of the clipping norm. Throws Fault::config for more than kMostPlannedSteps.
double sensitivity(const PlannedSteps& steps);

// The one step that they are, `noise` being that of the white noise of each.
GaussianSteps as_one(const PlannedSteps& steps, double noise);

// As noise_for() of the accountant.
double noise_for(double epsilon, const PlannedSteps& steps, double delta, Adjacency adjacency,
                 Method method);

}  // namespace sheaf::privacy
