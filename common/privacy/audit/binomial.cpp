#include "common/privacy/audit/binomial.h"

#include <cmath>
#include <initializer_list>

namespace sheaf::privacy {
namespace {

// The continued fraction of I_x(a, b), by the method of Lentz. Converges fast for x < a / (a + b).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300, kEnough = 1e-15;
  constexpr int kMost = 100'000;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (std::abs(d) < kTiny ? kTiny : d);
  double value = d;
  for (int m = 1; m < kMost; ++m) {
    const double twice = 2.0 * m;
    const double even = m * (b - m) * x / ((a + twice - 1) * (a + twice));
    const double odd = -(a + m) * (a + b + m) * x / ((a + twice) * (a + twice + 1));
    for (const double term : {even, odd}) {
      d = 1 + term * d;
      c = 1 + term / c;
      if (std::abs(d) < kTiny) d = kTiny;
      if (std::abs(c) < kTiny) c = kTiny;
      d = 1 / d;
      value *= d * c;
    }
    if (std::abs(d * c - 1) < kEnough) break;
  }
  return value;
}

double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double log_front =
      std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x);
  if (x < (a + 1) / (a + b + 2)) return std::exp(log_front) * beta_fraction(a, b, x) / a;
  return 1 - std::exp(log_front) * beta_fraction(b, a, 1 - x) / b;
}

}  // namespace

double binomial_tail(std::uint64_t trials, std::uint64_t least, double probability) {
  if (least == 0) return 1;
  if (least > trials) return 0;
  return incomplete_beta(static_cast<double>(least), static_cast<double>(trials - least) + 1,
                         probability);
}

double most_probable(std::uint64_t trials, std::uint64_t found, double significance) {
  if (found >= trials) return 1;
  double low = 0, high = 1;  // P(X <= found) falls as the probability grows
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    // P(X <= found) = P(trials - X >= trials - found).
    (binomial_tail(trials, trials - found, 1 - middle) > significance ? low : high) = middle;
  }
  return high;
}

}  // namespace sheaf::privacy
