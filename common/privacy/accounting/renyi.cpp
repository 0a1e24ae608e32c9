#include "common/privacy/accounting/renyi.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "common/privacy/accounting/loss_transform.h"

namespace sheaf::privacy {
namespace {

// A sum of signed terms that are given by their logarithms.
class LogSum {
 public:
  void add(double log_term, bool negative) {
    if (log_term == -kInfinity) return;
    if (log_term > scale_) {
      sum_ *= std::exp(scale_ - log_term);
      scale_ = log_term;
    }
    sum_ += (negative ? -1.0 : 1.0) * std::exp(log_term - scale_);
  }
  double log() const { return scale_ + std::log(sum_); }
  double log_one_plus() const {
    return scale_ < 0 ? std::log1p(sum_ * std::exp(scale_))
                      : scale_ + std::log(sum_ + std::exp(-scale_));
  }

 private:
  double scale_ = -kInfinity;
  double sum_ = 0;
};

double log_erfc(double x) {
  if (x < 25) return std::log(std::erfc(x));
  // Where erfc underflows: its asymptotic series.
  const double y = 1 / (2 * x * x);
  return -x * x - std::log(x) - 0.5 * std::log(std::numbers::pi) +
         std::log1p(-y * (1 - 3 * y * (1 - 5 * y * (1 - 7 * y))));
}

// Without exponentials the terms add up to 1, so A - 1 is the sum with e^x - 1 in their place: no
// digits are lost where A is nearly 1.
double log_a_integer(double q, double s, double order) {
  LogSum sum;
  double log_binomial = std::log(order);
  for (int n = 2; n <= static_cast<int>(order); ++n) {
    const double k = n;
    log_binomial += std::log((order - k + 1) / k);
    const double exponent = (k * k - k) / (2 * s * s);
    const double log_expm1 = exponent + std::log(-std::expm1(-exponent));
    sum.add(log_binomial + (order - k) * std::log1p(-q) + k * std::log(q) + log_expm1, false);
  }
  return sum.log_one_plus();
}

// The integral is cut at z0, where (1-q) phi(0) = q phi(1), and the power of the mixture expanded
// on either side in its smaller part. From the order on the signs alternate and terms fall like
// k^-(order + 2): the mean of two partial sums in a row is as near as that of ever so many.
double log_a_fractional(double q, double s, double order) {
  const double z0 = s * s * std::log(1 / q - 1) + 0.5;
  const double to_unit = 1 / (std::numbers::sqrt2 * s);
  LogSum sum;
  double log_binomial = 0;
  bool negative = false;
  for (double k = 0;; ++k) {
    const double j = order - k;
    const double left = log_binomial + j * std::log1p(-q) + k * std::log(q) +
                        (k * k - k) / (2 * s * s) + log_erfc((k - z0) * to_unit);
    const double right = log_binomial + j * std::log(q) + k * std::log1p(-q) +
                         (j * j - j) / (2 * s * s) + log_erfc((z0 - j) * to_unit);
    const bool last = k > order && std::max(left, right) < -30;
    const double half = last ? 2 * std::numbers::ln2 : std::numbers::ln2;  // of erfc; of the mean
    sum.add(left - half, negative);
    sum.add(right - half, negative);
    if (last) return sum.log();
    log_binomial += std::log(std::abs(j) / (k + 1));
    if (j < 0) negative = !negative;
  }
}

}  // namespace

double renyi_divergence(const GaussianSteps& step, double order, Adjacency adjacency) {
  const double q = step.sampling_rate, s = step.noise;
  if (adjacency == Adjacency::replace_one) {
    const LossTransform transform(PrivacyLoss(q, s, Direction::replace));
    return transform.at(order - 1).value / (order - 1);
  }
  if (q == 1) return order / (2 * s * s);
  const bool integer = order == std::floor(order);
  const double log_a = integer ? log_a_integer(q, s, order) : log_a_fractional(q, s, order);
  return std::max(0.0, log_a) / (order - 1);
}

std::span<const double> renyi_orders() {
  static const std::vector<double> orders = [] {
    std::vector<double> all;
    for (int tenths = 11; tenths < 110; ++tenths) all.push_back(tenths / 10.0);
    for (int order = 12; order < 64; ++order) all.push_back(order);
    return all;
  }();
  return orders;
}

RenyiEpsilon epsilon_by_renyi(History history, double delta, Adjacency adjacency) {
  RenyiEpsilon best{kInfinity, 0};
  for (const double order : renyi_orders()) {
    double divergence = 0;
    for (const GaussianSteps& steps : history) {
      divergence += static_cast<double>(steps.count) * renyi_divergence(steps, order, adjacency);
    }
    const double epsilon =
        divergence + std::log1p(-1 / order) - std::log(delta * order) / (order - 1);
    if (epsilon < best.epsilon) best = {std::max(0.0, epsilon), order};
  }
  return best;
}

}  // namespace sheaf::privacy
