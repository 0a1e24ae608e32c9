#include "common/privacy/accounting/accountant.h"

#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "common/privacy/accounting/contour.h"
#include "common/privacy/accounting/loss_grid.h"
#include "common/privacy/accounting/renyi.h"

namespace sheaf::privacy {
namespace {

Epsilon by_renyi(History history, double delta, Adjacency adjacency) {
  const RenyiEpsilon renyi = epsilon_by_renyi(history, delta, adjacency);
  return {renyi.epsilon, 1e-10 * (1 + renyi.epsilon), "rdp", renyi.order};
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

double upper(double noise, const GaussianSteps& steps, double delta, Adjacency adjacency,
             Method method) {
  const GaussianSteps tried{steps.sampling_rate, noise, steps.count};
  const Epsilon epsilon = epsilon_of({&tried, 1}, delta, adjacency, method);
  return epsilon.value + epsilon.error;
}

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
  const auto fits = [&](double noise) {
    return upper(noise, steps, delta, adjacency, method) <= epsilon;
  };
  double high = 1;
  while (!fits(high)) {
    if (high >= kMost) {
      fail(Fault::config,
           "epsilon: found {}, which no noise up to {:.0e} gives, expected a larger one", epsilon,
           kMost);
    }
    high = std::min(kMost, 2 * high);
  }
  double low = high / 2;
  while (low > kLeast && fits(low)) {
    high = low;
    low = std::max(kLeast, low / 2);
  }
  while (high - low > 0.25 / kPerUnit) {
    const double middle = (low + high) / 2;
    (fits(middle) ? high : low) = middle;
  }
  double units = std::ceil(high * kPerUnit);
  while (!fits(units / kPerUnit)) ++units;  // the two ways to an epsilon differ by their errors
  return units / kPerUnit;
}

}  // namespace sheaf::privacy
