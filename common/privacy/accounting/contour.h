// Tight accounting by a contour integral: with M the moment-generating function of the composed
// privacy loss and any a > 0,
//
//   delta(epsilon) = 1/(2 pi i) Int M(z) e^(-z epsilon) / (z (z+1)) dz  over z = a - i inf .. a + i
//   inf
//
// (the Bromwich inversion of E (1 - e^(epsilon - loss))+; Zhu, Dong, Wang 2022 invert the
// characteristic function to the same end). The line passes through the saddle point, where the
// integrand falls fastest, and the integral is an equidistant sum, which errs by the alias of
// delta alone. No grid over the loss: steps of different kinds are a product of their M.
// Plain maths, thread-safe.
#pragma once

#include <optional>

#include "common/privacy/accounting/composition.h"

namespace sheaf::privacy {

// `epsilon` with |epsilon - exact| <= `error`. Of the error the alias is bounded; what is cut off
// the line and rounding are estimates, on the safe side of what tests found.
struct TightEpsilon {
  double epsilon = 0;
  double error = 0;
};

// The smallest epsilon >= 0 with delta(epsilon) <= delta of the composition. Nothing if that takes
// more than `work` complex products, about 1 ns each: the integrand of a few steps with rare units
// falls slowly, as their loss is nearly a single value. Then epsilon_by_grid is the way.
inline constexpr double kUsualWork = 1e7;
std::optional<TightEpsilon> epsilon_by_contour(const Composition& steps, double work = kUsualWork);

}  // namespace sheaf::privacy
