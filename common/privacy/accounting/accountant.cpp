#include "common/privacy/accounting/accountant.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/error.h"
#include "common/privacy/accounting/contour.h"
#include "common/privacy/accounting/loss_grid.h"
#include "common/privacy/accounting/renyi.h"

namespace sheaf::privacy {
namespace {

// The series of a fractional order keeps 14 digits of a sum near 1.
Epsilon by_renyi(History history, double delta, Adjacency adjacency) {
  const RenyiEpsilon renyi = epsilon_by_renyi(history, delta, adjacency);
  double steps = 0;
  for (const GaussianSteps& part : history) steps += static_cast<double>(part.count);
  const double error = 1e-10 * renyi.epsilon + steps * 1e-13 / (renyi.order - 1);
  return {renyi.epsilon, error, "rdp", renyi.order};
}

// By what is quicker: a contour integral; for a few steps, a grid; for many steps with very rare
// units, a long contour integral; Renyi, which is a bound for whatever is left.
Epsilon in_direction(History history, double delta, Direction direction, Adjacency adjacency) {
  const Composition steps(history, direction, delta);
  double total_variation = 0;
  for (const auto& part : steps.parts()) {
    total_variation += part.count * part.transform.loss().total_variation();
  }
  if (total_variation <= delta) return {0, 0, "contour", {}};
  if (const auto tight = epsilon_by_contour(steps)) {
    return {tight->epsilon, tight->error, "contour", {}};
  }
  if (const auto tight = epsilon_by_grid(steps)) {
    return {tight->epsilon, tight->error, "grid", {}};
  }
  if (const auto tight = epsilon_by_contour(steps, 50 * kUsualWork)) {
    return {tight->epsilon, tight->error, "contour", {}};
  }
  return by_renyi(history, delta, adjacency);
}

// No set of outcomes is likelier without a unit than with it by more than a factor of 1 - q a step.
double most_by_adding(History history) {
  double most = 0;
  for (const GaussianSteps& steps : history) {
    most -= static_cast<double>(steps.count) * std::log1p(-steps.sampling_rate);
  }
  return most;
}

// log(bound of epsilon / budget) at some noise: falls as noise grows, nearly a straight line in its
// logarithm.
class Excess {
 public:
  Excess(double budget, const GaussianSteps& steps, double delta, Adjacency adjacency,
         Method method)
      : budget_(budget), steps_(steps), delta_(delta), adjacency_(adjacency), method_(method) {}

  double operator()(double noise) const {
    const GaussianSteps tried{steps_.sampling_rate, noise, steps_.count};
    const Epsilon epsilon = epsilon_of({&tried, 1}, delta_, adjacency_, method_);
    return std::log((epsilon.value + epsilon.error) / budget_);
  }

 private:
  double budget_;
  GaussianSteps steps_;
  double delta_;
  Adjacency adjacency_;
  Method method_;
};

}  // namespace

Epsilon epsilon_of(History history, double delta, Adjacency adjacency, Method method) {
  check_history(history);
  check_delta(delta);
  if (method == Method::renyi) return by_renyi(history, delta, adjacency);
  if (adjacency == Adjacency::replace_one) {  // is its own mirror image
    return in_direction(history, delta, Direction::replace, adjacency);
  }
  const Epsilon remove = in_direction(history, delta, Direction::remove, adjacency);
  // Without sampling both directions are one: a shifted normal distribution.
  const bool sampled = std::ranges::any_of(
      history, [](const GaussianSteps& steps) { return steps.sampling_rate < 1; });
  if (!sampled || remove.value >= most_by_adding(history)) return remove;
  const Epsilon add = in_direction(history, delta, Direction::add, adjacency);
  return add.value > remove.value ? add : remove;
}

double noise_for(double epsilon, const GaussianSteps& steps, double delta, Adjacency adjacency,
                 Method method) {
  constexpr double kLeast = 0.01, kMost = 1e6, kPerUnit = 1e6;
  check_epsilon(epsilon);
  const Excess excess(epsilon, steps, delta, adjacency, method);
  double high = 1, at_high = excess(high);
  double low = high, at_low = at_high;
  while (at_high > 0) {
    if (high >= kMost) {
      fail(Fault::config,
           "epsilon: found {}, which no noise up to {:.0e} gives, expected a larger one", epsilon,
           kMost);
    }
    low = std::exchange(high, std::min(kMost, 2 * high));
    at_low = std::exchange(at_high, excess(high));
  }
  while (at_low <= 0) {
    if (low <= kLeast) return kLeast;
    high = std::exchange(low, std::max(kLeast, low / 2));
    at_high = std::exchange(at_low, excess(low));
  }
  // Regula falsi on logarithms; every third time bisection, which also serves where epsilon is 0.
  for (int i = 0; high - low > 0.25 / kPerUnit; ++i) {
    const double share = at_low / (at_low - at_high);
    double middle = i % 3 == 2 || !std::isfinite(at_high) ? (low + high) / 2
                                                          : low * std::pow(high / low, share);
    // A little beside it, so that the root is soon between two that are near each other.
    middle += (i % 2 == 0 ? 0.1 : -0.1) / kPerUnit;
    middle = std::clamp(middle, low + 0.02 * (high - low), high - 0.02 * (high - low));
    const double at_middle = excess(middle);
    (at_middle > 0 ? low : high) = middle;
    (at_middle > 0 ? at_low : at_high) = at_middle;
  }
  double units = std::ceil(high * kPerUnit);
  while (excess(units / kPerUnit) > 0) ++units;  // ways to an epsilon differ by their errors
  return units / kPerUnit;
}

}  // namespace sheaf::privacy
