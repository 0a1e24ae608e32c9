#include "common/privacy/accounting/composition.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sheaf::privacy {
namespace {

// log (a^a / (1+a)^(1+a)): the largest (1 - e^-x) e^(-a x), by which a Chernoff bound of the mean
// of (1 - e^(epsilon - loss))+ beats that of the probability that loss > epsilon.
double log_gain(double a) { return a * std::log(a / (1 + a)) - std::log1p(a); }

// The saddle-point approximation along a: where the exponent K(z) - z epsilon - log(z (z+1)) is
// stationary at z = a, and what it then says of delta (Daniels 1954).
struct SaddlePoint {
  double epsilon, log_delta;
};
SaddlePoint saddle_point(const Cumulants& k, double a) {
  const double epsilon = k.first - 1 / a - 1 / (a + 1);
  const double curvature = k.second + 1 / (a * a) + 1 / ((a + 1) * (a + 1));
  return {epsilon, k.value - a * epsilon - std::log(a) - std::log1p(a) -
                       0.5 * std::log(2 * std::numbers::pi * curvature)};
}

}  // namespace

Composition::Composition(History history, Direction direction, double delta) : delta_(delta) {
  for (const GaussianSteps& steps : history) total_ += static_cast<double>(steps.count);
  for (const GaussianSteps& steps : history) {
    if (steps.count == 0) continue;
    const PrivacyLoss loss(steps.sampling_rate, steps.noise, direction);
    const double limit = LossTransform::limit(loss, 1e-11 * delta / total_);
    parts_.push_back({LossTransform(loss, limit), static_cast<double>(steps.count)});
  }
}

Cumulants Composition::at(double a) const {
  Cumulants total;
  for (const Part& part : parts_) {
    const Cumulants k = part.transform.at(a);
    total.value += part.count * k.value;
    total.first += part.count * k.first;
    total.second += part.count * k.second;
    total.magnitude += part.count * k.magnitude;
  }
  return total;
}

double Composition::log_chernoff(double a, double epsilon) const {
  return at(a).value - a * epsilon + log_gain(a);
}

Composition::Saddle Composition::saddle() const {
  const double wanted = std::log(delta_);
  const auto above = [&](double a) { return saddle_point(at(a), a).log_delta > wanted; };
  double low = 1, high = 1;  // delta falls as a grows
  while (above(high)) high *= 2;
  while (!above(low) && low > 1e-12) low /= 2;
  while (high / low > 1.001) {
    const double middle = std::sqrt(low * high);
    (above(middle) ? low : high) = middle;
  }
  const double a = std::sqrt(low * high);
  return {a, saddle_point(at(a), a).epsilon};
}

// On the right of epsilon lies delta(epsilon + d) e^(a d), bounded at tilts b > a; on the left
// delta(epsilon - d) e^(-a d), bounded at tilts b < a, and by e^(-a d). The sum over all multiples
// of d is at most twice the first one: a geometric series.
std::vector<Composition::Side> Composition::sides(double a, double epsilon) const {
  std::vector<Side> sides = {{false, a, std::numbers::ln2}};
  for (int i = 0; i < 14; ++i) {
    const double b = a * (0.02 + 0.07 * i);
    sides.push_back({false, a - b, log_chernoff(b, epsilon) + std::numbers::ln2});
  }
  for (int i = 0; i < 15; ++i) {
    const double b = a * (1 + 0.02 * std::pow(1.5, i));
    const double log_bound = log_chernoff(b, epsilon) + std::numbers::ln2;
    if (!(log_bound < 1e4)) break;  // of no more use, or no number where all is faded out
    sides.push_back({true, b - a, log_bound});
  }
  return sides;
}

double Composition::period(double a, double epsilon, double error) const {
  double right = kInfinity, left = kInfinity;
  for (const Side& side : sides(a, epsilon)) {
    double& nearest = side.right ? right : left;
    nearest = std::min(nearest, (side.log_bound - std::log(error / 2)) / side.rate);
  }
  return std::max({right, left, 8 / a});  // a tail of delta's size is in any case looked at
}

// Left of the saddle point the alias on the right falls faster, but terms grow that then cancel: as
// far as rounding allows, and three nats at any rate.
Composition::Line Composition::line(const Saddle& saddle, double epsilon, double tolerance) const {
  const auto log_term = [&](double a) {
    return at(a).value - a * epsilon - std::log(a * (a + 1)) - std::log(delta_);
  };
  const double room =
      std::max(std::log(tolerance / (at(saddle.a).magnitude * 0x1p-48)), log_term(saddle.a) + 3);
  Line best{saddle.a, period(saddle.a, epsilon, tolerance * delta_), epsilon, tolerance};
  for (double a = 0.93 * saddle.a; a > 1e-3 * saddle.a && log_term(a) < room; a *= 0.93) {
    const double shorter = period(a, epsilon, tolerance * delta_);
    if (shorter > best.period) break;
    best.a = a;
    best.period = shorter;
  }
  return best;
}

double Composition::alias(const Line& line, double epsilon) const {
  double right = kInfinity, left = kInfinity;
  for (const Side& side : sides(line.a, epsilon)) {
    double& least = side.right ? right : left;
    least = std::min(least, std::exp(side.log_bound - side.rate * line.period));
  }
  return right + left;
}

}  // namespace sheaf::privacy
