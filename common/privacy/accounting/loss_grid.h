// Tight accounting by a grid over the privacy loss, for the few steps that the contour integral
// does not like. The loss of a step is spread over multiples of a spacing so that P and Q keep the
// mass of each cell between two of them ("connect the dots", Doroshenko, Ghazi, Kamath, Kumar,
// Manurangsi, PETS 2022): the result dominates the step, and composing it dominates all steps. Sums
// of losses are found by a discrete Fourier transform, tilted so that rounding is small against
// delta (Koskela, Jaelkoe, Honkela 2020 compose so, without the tilt).
// Plain maths, thread-safe.
#pragma once

#include "common/privacy/accounting/composition.h"
#include "common/privacy/accounting/contour.h"

namespace sheaf::privacy {

// An upper bound of the smallest epsilon >= 0 with delta(epsilon) <= delta. `error` says how far
// above it may lie: estimated by twice the spacing, where the excess is four times as large.
// Nothing if rounding would matter: more steps than anybody takes. Takes some 0.1 s.
std::optional<TightEpsilon> epsilon_by_grid(const Composition& steps);

}  // namespace sheaf::privacy
