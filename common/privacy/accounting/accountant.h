// The door to accounting: how much privacy a history of steps costs, and how much noise keeps it to
// a budget. For all data sets that differ in one unit, and every set of outcomes S,
//
//   P(outcome in S) <= e^epsilon P'(outcome in S) + delta.
//
// Both directions are computed and the worse one counts (neither is the worse one in general:
// Lebeda, Regehr, Kamath, Steinke, "Avoiding pitfalls for privacy accounting of subsampled
// mechanisms under composition", 2024). What holds for examples holds for any unit that takes part
// with probability `sampling_rate` and whose contribution is clipped as a whole. A column of the
// data is in every batch: its sampling rate is 1, however few examples a batch has.
// Plain maths, thread-safe. What makes no sense throws Fault::config.
#pragma once

#include <optional>
#include <string_view>

#include "common/privacy/accounting/steps.h"

namespace sheaf::privacy {

enum class Method {
  tight,  // contour integral, or grid where that is slow
  renyi,
};

struct Epsilon {
  double value = 0;
  // tight: |value - exact| is at most that, by bounds and estimates (contour.h, loss_grid.h).
  // renyi: rounding; the value is an upper bound and no estimate.
  double error = 0;
  std::string_view accountant;  // "contour", "grid" (an upper bound, too) or "rdp"
  std::optional<double> order;  // of rdp
};

Epsilon epsilon_of(History history, double delta, Adjacency adjacency, Method method);

// The least noise, rounded up to 6 decimals, at least 0.01, whose epsilon with its error is at most
// `epsilon`, for steps.count steps at steps.sampling_rate; steps.noise is not looked at. Throws
// Fault::config if noise of 10^6 is not enough.
double noise_for(double epsilon, const GaussianSteps& steps, double delta, Adjacency adjacency,
                 Method method);

}  // namespace sheaf::privacy
