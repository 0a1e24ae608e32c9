// The privacy loss of one step: two distributions P and Q of one number x dominate what the step
// shows with and without a unit, so that log P(x)/Q(x) with x from P is its worst case, under
// composition, too. With phi the normal density of mean 0, 1 or -1 and deviation `noise`, q the
// sampling rate, all in units of the clipping norm:
//
//   remove   P = (1-q) phi(0) + q phi(1)   Q = phi(0)
//   add      P = phi(0)                    Q = (1-q) phi(0) + q phi(1)
//   replace  P = (1-q) phi(0) + q phi(1)   Q = (1-q) phi(0) + q phi(-1)
//
// Source of the first two: Zhu, Dong, Wang, "Optimal accounting of differential privacy via
// characteristic function", AISTATS 2022; there also that dominating pairs compose.
//
// That the third dominates: given which other units take part, the step shows (1-q) phi(0) +
// q phi(g) or (1-q) phi(0) + q phi(h), two vectors with norm at most 1 (joint convexity allows to
// fix the others). For any threshold e^epsilon >= 1 the divergence is q times the mean of
// (1 - c A - d B)+ under phi(g), where c, d >= 0, A = phi(0)/phi(g), B = phi(h)/phi(g): log-normals
// of mean 1 with deviations |g|/noise and |h-g|/noise. A convex function of a sum of increasing
// functions is supermodular, so the mean grows with the correlation of log A and log B (Mueller and
// Stoyan, "Comparison methods for stochastic models and risks", 2002, section 3.13), and by
// Jensen's inequality with either deviation. All three are largest for h = -g, |g| = 1. Thresholds
// below 1 follow by exchanging g and h.
//
// Plain maths, immutable, thread-safe.
#pragma once

#include <limits>

namespace sheaf::privacy {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

enum class Direction { remove, add, replace };

class PrivacyLoss {
 public:
  // REQUIRES: sampling_rate in (0, 1], noise > 0.
  PrivacyLoss(double sampling_rate, double noise, Direction direction);

  double loss(double x) const;         // log P(x)/Q(x); monotonic in x
  double slope(double x) const;        // the absolute value of its derivative
  double log_density(double x) const;  // log P(x)
  // The x whose loss is that; infinite where the loss stays above or below it.
  double point(double loss) const;
  // The total variation distance of P and Q: delta at epsilon 0.
  double total_variation() const;
  // The mass of P and of Q between two points, of which the first is smaller; either may be
  // infinite. Relative to the mass beyond the nearer end, not by subtraction from 1.
  double mass_p(double from, double to) const;
  double mass_q(double from, double to) const;

  double sampling_rate() const { return q_; }
  double noise() const { return noise_; }
  Direction direction() const { return direction_; }

 private:
  double removal(double x) const;  // the loss of `remove`
  double removal_point(double loss) const;
  double replacement_point(double loss) const;
  double fraction(double x) const;  // of its derivative: removal' = fraction / noise^2

  double q_, noise_;
  Direction direction_;
};

}  // namespace sheaf::privacy
