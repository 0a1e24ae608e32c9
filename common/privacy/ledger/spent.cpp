#include "common/privacy/ledger/spent.h"

#include <algorithm>
#include <map>
#include <vector>

#include "common/base/error.h"

namespace sheaf::privacy {
namespace {

using Steps = std::vector<GaussianSteps>;

// Accounts with the same history are evaluated once: usually all are.
bool same_history(const Steps& a, const Steps& b) {
  return std::ranges::equal(a, b, [](const GaussianSteps& x, const GaussianSteps& y) {
    return x.sampling_rate == y.sampling_rate && x.noise == y.noise && x.count == y.count;
  });
}

std::vector<std::pair<std::uint32_t, Steps>> different_histories(const Ledger& ledger,
                                                                 std::span<const OpenRow> next) {
  std::map<std::uint32_t, Step> extra;
  for (const OpenRow& row : next) extra[row.partition] = row.step;
  std::vector<std::pair<std::uint32_t, Steps>> all;
  for (std::uint32_t account = 0; account < ledger.accounts(); ++account) {
    const auto more = extra.find(account);
    Steps steps =
        ledger.history(account, more == extra.end() ? std::nullopt : std::optional(more->second));
    const auto same = [&](const auto& known) { return same_history(known.second, steps); };
    if (steps.empty() || std::ranges::any_of(all, same)) continue;
    all.emplace_back(account, std::move(steps));
  }
  return all;
}

Epsilon evaluate(const Ledger& ledger, const Steps& steps, Method method) {
  return epsilon_of(steps, ledger.terms().delta, ledger.terms().adjacency, method);
}

// The history with so many more steps as the terms have them.
Steps with_fresh(const Ledger& ledger, Steps steps, std::uint64_t count) {
  const LedgerTerms& terms = ledger.terms();
  if (terms.bands != 0) return {ledger.correlated({}, count)};
  if (terms.sampling == Sampling::poisson) {
    steps.push_back({terms.sampling_rate, terms.noise, count});
  } else {  // an epoch that is begun is paid for; the next step begins one at worst
    const std::uint64_t epochs = (count + terms.steps_per_epoch - 1) / terms.steps_per_epoch;
    steps.push_back({1, terms.noise, epochs});
  }
  return steps;
}

}  // namespace

Spent spent(const Ledger& ledger, Method method) {
  Spent worst;
  worst.epsilon.accountant = "none";
  for (const auto& [account, steps] : different_histories(ledger, {})) {
    const Epsilon epsilon = evaluate(ledger, steps, method);
    if (worst.steps != 0 && epsilon.value <= worst.epsilon.value) continue;
    worst = {epsilon, account, ledger.steps(account), ledger.releases(account)};
  }
  return worst;
}

double epsilon_with(const Ledger& ledger, std::span<const OpenRow> next) {
  double worst = 0;
  for (const auto& [account, steps] : different_histories(ledger, next)) {
    const Epsilon epsilon = evaluate(ledger, steps, Method::tight);
    worst = std::max(worst, epsilon.value + epsilon.error);
  }
  return worst;
}

std::uint64_t steps_within(const Ledger& ledger, double epsilon, std::uint64_t most) {
  auto histories = different_histories(ledger, {});
  if (histories.empty()) histories.emplace_back();
  const auto fits = [&](std::uint64_t count) {
    return std::ranges::all_of(histories, [&](const auto& history) {
      const Epsilon found =
          evaluate(ledger, with_fresh(ledger, history.second, count), Method::tight);
      return found.value + found.error <= epsilon;
    });
  };
  std::uint64_t enough = 0, next = 1;  // `enough` fit
  while (next <= most && fits(next)) {
    enough = next;
    next *= 2;
  }
  std::uint64_t too_many = std::min(next, most + 1);
  while (too_many - enough > 1) {
    const std::uint64_t middle = enough + (too_many - enough) / 2;
    (fits(middle) ? enough : too_many) = middle;
  }
  return enough;
}

Budget::Budget(double epsilon, std::uint64_t most) : epsilon_(epsilon), most_(most) {
  check_epsilon(epsilon);
  check(most > 0, "a budget for at least one step");
}

bool Budget::take(const Ledger& ledger, std::span<const OpenRow> next) {
  const auto fresh = [&](const OpenRow& row) { return !ledger.knows(row.step, row.partition); };
  if (!std::ranges::all_of(next, fresh)) {  // costs something else, and changes what is left
    fresh_ = 0;
    return epsilon_with(ledger, next) <= epsilon_;
  }
  if (fresh_ == 0) fresh_ = steps_within(ledger, epsilon_, most_);
  if (fresh_ == 0) return false;
  --fresh_;
  return true;
}

}  // namespace sheaf::privacy
