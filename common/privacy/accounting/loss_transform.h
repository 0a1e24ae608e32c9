// The moment-generating function of the privacy loss of one step, M(z) = E_P e^(z loss), on the
// real line and on vertical lines of the complex plane. M(a - 1) at a real order a > 1 is the
// moment behind the Renyi divergence of order a. All is summed as M - 1 is, e^(z loss) - 1: of a
// rare unit that is many orders of magnitude below 1.
//
// Large losses of no probability to speak of make M explode at large z, which helps nobody. So P
// can be faded out beyond a limit, by a factor erfc((x - limit) / (sqrt(2) noise / 2)) / 2 in the
// integrand, as smooth as P itself.
//
// The integral over x is a sum over equidistant points. For an integrand that is analytic in a
// strip of half-width y, the error of that is e^(-2 pi y / step) times the growth of the integrand
// towards the edge of the strip (Trefethen and Weideman, "The exponentially convergent trapezoidal
// rule", SIAM Review 2014, theorem 5.1); the step is chosen so that less than e^-40 is left.
// Plain maths, immutable, thread-safe.
#pragma once

#include <cmath>
#include <complex>
#include <cstddef>
#include <span>
#include <vector>

#include "common/privacy/accounting/privacy_loss.h"

namespace sheaf::privacy {

// K = log M and its derivatives.
struct Cumulants {
  double value = 0;
  double first = 0;      // mean of the loss under P tilted by e^(a loss)
  double second = 0;     // its variance
  double magnitude = 0;  // the sum of |terms| of M - 1, over M: roundings are in proportion
};

class LossTransform {
 public:
  explicit LossTransform(const PrivacyLoss& loss, double limit = kInfinity)
      : loss_(loss), limit_(limit) {}

  // The limit beyond which P has less than `mass`, where it was faded out. For `add`, whose losses
  // are bounded, infinity.
  static double limit(const PrivacyLoss& loss, double mass);

  // K at a real a >= 0.
  Cumulants at(double a) const;

  // values[k] = log M(a + i (from + k) spacing), for any branch of the logarithm. Costs
  // points(a, (from + values.size()) spacing) times values.size() complex products.
  void along_line(double a, std::size_t from, double spacing,
                  std::span<std::complex<double>> values) const;
  std::size_t points(double a, double t) const;

  const PrivacyLoss& loss() const { return loss_; }

 private:
  // Where P or P tilted by e^(a loss) has its mass.
  struct Range {
    double from, to;
    double steepest;  // the largest slope of the loss in it
    double scale;     // log of the largest density, tilted or not
  };
  Range range(double a) const;
  double spacing(double a, double t, const Range& range) const;
  static std::size_t count(const Range& range, double step);
  double log_density(double x) const;  // of the faded P

  PrivacyLoss loss_;
  double limit_;
};

}  // namespace sheaf::privacy
