#include "common/privacy/audit/trade_off.h"

#include <algorithm>
#include <cmath>

#include "common/privacy/accounting/accountant.h"

namespace sheaf::privacy {

TradeOff::TradeOff(History history, Adjacency adjacency) {
  // From the tail, which decides for events that are nearly certain one way, to even odds.
  constexpr int kPoints = 20;
  constexpr double kLeast = 1e-7, kMost = 0.9;
  for (int i = 0; i < kPoints; ++i) {
    const double delta = kLeast * std::pow(kMost / kLeast, i / (kPoints - 1.0));
    const Epsilon epsilon = epsilon_of(history, delta, adjacency, Method::tight);
    lines_.push_back({epsilon.value + epsilon.error, delta});
    if (epsilon.value == 0) break;
  }
}

double TradeOff::least(double p) const {
  double most = 0;
  for (const Line& line : lines_) {
    most = std::max({most, (p - line.delta) * std::exp(-line.epsilon),
                     1 - line.delta - std::exp(line.epsilon) * (1 - p)});
  }
  return std::min(most, 1.0);
}

}  // namespace sheaf::privacy
