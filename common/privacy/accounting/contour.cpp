#include "common/privacy/accounting/contour.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sheaf::privacy {
namespace {

constexpr double kTolerance = 1e-10;  // of delta: the alias, and what is cut off the line
constexpr double kRough = 1e-3;

// M on a line at a + i k spacing, k = 0, 1, …, until the rest no longer counts.
class Integrand {
 public:
  Integrand(const Composition& steps, const Composition::Line& plan, double most_work)
      : a_(plan.a), spacing_(2 * std::numbers::pi / plan.period) {
    const double least = std::log(plan.tolerance * steps.delta());
    double work = 0;
    while (!complete_) {
      // The further up, the more points each of them costs: few at first.
      const std::size_t more = std::clamp<std::size_t>(log_m_.size() / 2, 16, 128);
      const double top = spacing_ * static_cast<double>(log_m_.size() + more);
      for (const auto& part : steps.parts()) {
        work += static_cast<double>(part.transform.points(a_, top) * more);
      }
      if (work > most_work) return;
      extend(steps, more);
      // As if it fell no faster than 1/t^2 from here on.
      const double t = spacing_ * static_cast<double>(log_m_.size());
      complete_ = log_m_.back().real() - a_ * plan.epsilon - std::log(t) < least;
    }
  }

  bool complete() const { return complete_; }

  // delta(epsilon), its derivative, and the sum of absolute values, which bounds the rounding.
  struct Value {
    double delta = 0, derivative = 0, absolute = 0;
  };
  Value at(double epsilon) const {
    Value value;
    for (std::size_t k = log_m_.size(); k-- > 0;) {
      const std::complex<double> z(a_, spacing_ * static_cast<double>(k));
      const std::complex<double> term = std::exp(log_m_[k] - z * epsilon) / (z * (z + 1.0));
      const double weight = k == 0 ? 0.5 : 1.0;
      value.delta += weight * term.real();
      value.derivative -= weight * (term * z).real();
      value.absolute += weight * std::abs(term);
    }
    const double scale = spacing_ / std::numbers::pi;
    return {value.delta * scale, value.derivative * scale, value.absolute * scale};
  }

 private:
  void extend(const Composition& steps, std::size_t more) {
    const std::size_t from = log_m_.size();
    log_m_.resize(from + more);
    std::vector<std::complex<double>> values(more);
    for (const auto& part : steps.parts()) {
      part.transform.along_line(a_, from, spacing_, values);
      for (std::size_t k = 0; k < more; ++k) log_m_[from + k] += part.count * values[k];
    }
  }

  double a_, spacing_;
  bool complete_ = false;
  std::vector<std::complex<double>> log_m_;
};

// Newton's iteration on log delta, which falls; bisection where it leaves what is known. The line
// is of use about the epsilon that it was planned for: no step is longer than an eighth of a
// period.
double solve(const Integrand& line, const Composition::Line& plan, double epsilon, double delta) {
  double low = -kInfinity, high = kInfinity;
  const double longest = plan.period / 8;
  for (int i = 0; i < 100; ++i) {
    const Integrand::Value value = line.at(epsilon);
    const bool above = value.delta > delta;
    (above ? low : high) = epsilon;
    double step = std::log(value.delta / delta) * value.delta / -value.derivative;
    if (!(std::abs(step) < longest))
      step = above ? longest : -longest;  // also where it is no number
    if (std::abs(step) < 1e-14 * (1 + std::abs(epsilon))) break;
    const double next = epsilon + step;
    epsilon = next > low && next < high ? next : (low + high) / 2;
  }
  return epsilon;
}

}  // namespace

std::optional<TightEpsilon> epsilon_by_contour(const Composition& steps, double work) {
  const double delta = steps.delta();
  const Composition::Saddle saddle = steps.saddle();
  // Where one step in a million decides, the saddle-point approximation is far off: rough passes
  // before the last one.
  double epsilon = saddle.epsilon, moved = kInfinity;
  for (int pass = 0; pass < 8; ++pass) {
    const Composition::Line rough = steps.line(saddle, epsilon, kRough);
    if (moved < rough.period / 16) break;
    const Integrand integrand(steps, rough, work);
    if (!integrand.complete()) return std::nullopt;
    const double before = epsilon;
    epsilon = solve(integrand, rough, epsilon, delta);
    moved = std::abs(epsilon - before);
  }
  const Composition::Line line = steps.line(saddle, epsilon, kTolerance);
  const Integrand integrand(steps, line, work);
  if (!integrand.complete()) return std::nullopt;
  epsilon = solve(integrand, line, epsilon, delta);
  if (epsilon < 0) return TightEpsilon{0, 0};

  const Integrand::Value value = integrand.at(epsilon);
  const Cumulants k = steps.at(line.a);
  const double rounding =
      value.absolute * 0x1p-50 * (4 + k.magnitude + std::abs(k.value) + line.a * epsilon);
  const double in_delta = steps.alias(line, epsilon) + 2 * kTolerance * delta + rounding +
                          std::abs(value.delta - delta);
  return TightEpsilon{epsilon, in_delta / -value.derivative};
}

}  // namespace sheaf::privacy
