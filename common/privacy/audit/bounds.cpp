#include "common/privacy/audit/bounds.h"

#include <algorithm>
#include <cmath>

#include "common/privacy/audit/binomial.h"

namespace sheaf::privacy {

double one_run_p_value(const Guesses& guesses, double epsilon, double delta) {
  const double q = 1 / (1 + std::exp(-epsilon));
  const double beta = binomial_tail(guesses.guesses, guesses.correct, q);
  double worst = 0;
  for (std::uint64_t i = 1; i <= guesses.correct; ++i) {
    const double tail = binomial_tail(guesses.guesses, guesses.correct - i, q);
    worst = std::max(worst, (tail - beta) / static_cast<double>(i));
    if (1 / static_cast<double>(i) < worst) break;  // what follows is smaller
  }
  const auto canaries = static_cast<double>(guesses.canaries);
  return std::min(1.0, beta + 2 * canaries * delta * worst);
}

// h and r: the mass, over all canaries, of wrong and of right guesses that a tail of the number of
// right ones can have; each step lowers that number by one. If both together must exceed all
// guesses, the tail is less likely than `significance`.
bool refuted_in_one_run(const Guesses& guesses, const TradeOff& claim, double significance) {
  const auto canaries = static_cast<double>(guesses.canaries);
  const auto all = static_cast<double>(guesses.guesses);
  const auto correct = static_cast<double>(guesses.correct);
  double r = significance * correct / canaries;
  double h = significance * (all - correct) / canaries;
  for (std::uint64_t i = guesses.correct; i-- > 0;) {
    const double more = std::max(h, claim.least(r));
    if (more == h) break;  // nothing changes any more
    const auto right = static_cast<double>(i);
    r = std::min(1.0, r + right / (all - right) * (more - h));
    h = more;
  }
  return r + h > all / canaries;
}

bool refuted_if_independent(const Found& found, const TradeOff& claim, double significance) {
  const double missed = most_probable(found.in, found.in - found.in_found, significance / 2);
  const double alarms = most_probable(found.out, found.out_found, significance / 2);
  // An event that has at least that probability with a canary has, without it, at least …
  return claim.least(1 - missed) > alarms;
}

}  // namespace sheaf::privacy
