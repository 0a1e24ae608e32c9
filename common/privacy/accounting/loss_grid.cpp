#include "common/privacy/accounting/loss_grid.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/privacy/accounting/fourier.h"

namespace sheaf::privacy {
namespace {

constexpr double kGridTolerance = 1e-9;  // of delta: what wraps around or is cut off
constexpr std::size_t kRoughSize = 1 << 13;
constexpr std::size_t kSize = 1 << 17;

// One period of losses, i * spacing for all i modulo `size`.
struct Grid {
  double a;  // of the tilt
  double spacing;
  std::size_t size;
  double centre;  // a multiple of the spacing, by its number
  std::size_t slot(double i) const {
    const auto n = static_cast<std::int64_t>(size);
    return static_cast<std::size_t>((static_cast<std::int64_t>(i) % n + n) % n);
  }
};

// The mass of P that no x within reach has, which counts as a loss of infinity, and the transform
// of the rest, tilted: p_i e^(a loss_i - log_m).
struct Spectrum {
  std::vector<std::complex<double>> values;
  double infinite = 0;
};

// Points from `low` or below to `high` or above: every multiple of the spacing from a period below
// 0 to a period above epsilon, ever fewer further out, where a tail may lie that hardly counts.
std::vector<double> points(double low, double high, const Grid& grid) {
  const auto period = static_cast<double>(grid.size);
  std::vector<double> points;
  const auto go = [&](double from, double to, double fine, double sign) {
    double gap = 1, i = from;
    std::size_t coarse = 0;
    while (sign * i < sign * to) {
      points.push_back(i);
      if (sign * i > sign * fine && ++coarse % 1024 == 0) gap *= 2;
      i += sign * gap;
    }
    points.push_back(i);
  };
  const double start = std::clamp(0.0, low, high);
  go(start, low, std::min(0.0, grid.centre) - period, -1);
  std::reverse(points.begin(), points.end());
  points.pop_back();
  go(start, high, std::max(0.0, grid.centre) + period, 1);
  return points;
}

Spectrum spectrum_of_step(const PrivacyLoss& loss, const Grid& grid, double log_m, double cut) {
  Spectrum spectrum{std::vector<std::complex<double>>(grid.size), 0};
  // Beyond `reach` lies less than `cut`.
  const double reach = loss.noise() * std::sqrt(-2 * std::log(cut));
  const bool falls = loss.direction() == Direction::add;
  const double low = std::floor(loss.loss(falls ? reach : -reach) / grid.spacing);
  const double high = std::ceil(loss.loss(falls ? -reach : 1 + reach) / grid.spacing);
  const auto add = [&](double i, double mass) {
    spectrum.values[grid.slot(i)] += mass * std::exp(grid.a * i * grid.spacing - log_m);
  };
  // From -infinity on: what lies below the first point is taken for it.
  double left = falls ? kInfinity : -kInfinity;
  double before = -kInfinity;
  for (const double i : points(low, high, grid)) {
    const double right = loss.point(i * grid.spacing);
    const double p = falls ? loss.mass_p(right, left) : loss.mass_p(left, right);
    const double q = falls ? loss.mass_q(right, left) : loss.mass_q(left, right);
    double lower = 0;
    if (std::isfinite(before)) {
      const double wide = (i - before) * grid.spacing;
      const double upper = (p - std::exp(before * grid.spacing) * q) / -std::expm1(-wide);
      if (std::isfinite(upper)) lower = p - std::clamp(upper, 0.0, p);
      add(before, lower);
    }
    add(i, p - lower);
    left = right;
    before = i;
  }
  spectrum.infinite = falls ? loss.mass_p(-kInfinity, left) : loss.mass_p(left, kInfinity);
  fourier(spectrum.values);
  return spectrum;
}

// The tilted distribution of all steps, and the mass at infinity.
Spectrum compose(const Composition& steps, const Grid& grid, double cut) {
  Spectrum all{std::vector<std::complex<double>>(grid.size, 1), 0};
  for (const auto& part : steps.parts()) {
    const double log_m = part.transform.at(grid.a).value;
    const Spectrum one = spectrum_of_step(part.transform.loss(), grid, log_m, cut);
    // The upper half of the transform of real values is the conjugate of the lower one.
    for (std::size_t k = 0; k <= grid.size / 2; ++k) {
      const bool none = one.values[k] == 0.0;
      all.values[k] *= none ? 0.0 : std::exp(part.count * std::log(one.values[k]));
    }
    all.infinite += part.count * one.infinite;
  }
  // The inverse transform is that of the conjugate, up to a factor.
  for (std::size_t k = 1; k < grid.size / 2; ++k) {
    all.values[grid.size - k] = all.values[k];
    all.values[k] = std::conj(all.values[k]);
  }
  fourier(all.values);
  return all;
}

// delta(epsilon) = A - e^epsilon B between two points, with A and B the sums of mass and of
// mass e^-loss above: from the top down to where it passes what is left of delta. What is not on
// the grid is taken off before: mass at infinity, the alias, and an allowance for rounding, which
// is that of one value of the spectrum times the number of steps. Nothing if that is too much. The
// error is what it comes to in epsilon.
std::optional<TightEpsilon> epsilon_on(const Composition& steps, const Composition::Line& line,
                                       std::size_t size) {
  const double spacing = line.period / static_cast<double>(size);
  const Grid grid{line.a, spacing, size, std::round(line.epsilon / spacing)};
  const Spectrum all = compose(steps, grid, kGridTolerance * steps.delta() / steps.total());
  const double log_m = steps.at(line.a).value;
  const double rounding = steps.total() * 0x1p-50 * std::exp(log_m - line.a * line.epsilon);
  const double remaining =
      steps.delta() - all.infinite - steps.alias(line, line.epsilon) - rounding;
  if (!(remaining > 0)) return std::nullopt;
  // In units of e^-loss at the centre, which does not overflow.
  const double centre = grid.centre * grid.spacing;
  double a = 0, b = 0;
  for (std::size_t k = 1; k < size; ++k) {
    const double i = grid.centre + static_cast<double>(size) / 2 - static_cast<double>(k);
    const double loss = i * grid.spacing;
    const double tilted = all.values[grid.slot(i)].real() / static_cast<double>(size);
    const double mass = std::max(0.0, tilted) * std::exp(log_m - line.a * loss);
    a += mass;
    b += mass * std::exp(centre - loss);
    const double below = loss - grid.spacing;
    if (a - std::exp(below - centre) * b > remaining) {
      const double slope = a - remaining;  // of delta, at this epsilon
      return TightEpsilon{centre + std::log(slope / b), (steps.delta() - remaining) / slope};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<TightEpsilon> epsilon_by_grid(const Composition& steps) {
  const Composition::Saddle saddle = steps.saddle();
  double near = saddle.epsilon;
  for (int pass = 0; pass < 3; ++pass) {
    const auto found = epsilon_on(steps, steps.line(saddle, near, 1e-3), kRoughSize);
    if (!found) return std::nullopt;
    near = found->epsilon;
  }
  const Composition::Line line = steps.line(saddle, near, kGridTolerance);
  const auto fine = epsilon_on(steps, line, kSize);
  const auto coarse = epsilon_on(steps, line, kSize / 2);
  if (!fine || !coarse) return std::nullopt;
  if (fine->epsilon <= 0) return TightEpsilon{0, 0};
  // The excess is a third of the difference, if four times the spacing's; this is not proved, so
  // all of it is reported, and what was taken off delta.
  const double excess = std::abs(coarse->epsilon - fine->epsilon);
  return TightEpsilon{fine->epsilon, excess + fine->error + 1e-10 * (1 + fine->epsilon)};
}

}  // namespace sheaf::privacy
