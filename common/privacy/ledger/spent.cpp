#include "common/privacy/ledger/spent.h"

#include <algorithm>
#include <map>
#include <vector>

#include "common/base/error.h"

namespace sheaf::privacy {
namespace {

// Accounts with the same history are evaluated once: usually all are.
bool same_history(const Steps& a, const Steps& b) {
  return std::ranges::equal(a, b, [](const GaussianSteps& x, const GaussianSteps& y) {
    return x.sampling_rate == y.sampling_rate && x.noise == y.noise && x.count == y.count;
  });
}

Histories different_histories(const Ledger& ledger, std::span<const OpenRow> next) {
  std::map<std::uint32_t, Step> extra;
  for (const OpenRow& row : next) extra[row.partition] = row.step;
  Histories all;
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
Steps with_fresh(const LedgerTerms& terms, Steps steps, std::uint64_t count) {
  if (terms.sampling == Sampling::poisson) {
    steps.push_back({terms.sampling_rate, terms.noise, count});
  } else {  // an epoch that is begun is paid for; the next step begins one at worst
    const std::uint64_t epochs = (count + terms.steps_per_epoch - 1) / terms.steps_per_epoch;
    steps.push_back({1, terms.noise, epochs});
  }
  return steps;
}

Histories histories_so_far(const Ledger& ledger) {
  Histories histories = different_histories(ledger, {});
  if (histories.empty()) histories.emplace_back();
  return histories;
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
  FreshSteps fresh(ledger, epsilon, most);
  std::uint64_t count = 0;
  while (fresh.reach_beyond(ledger, count)) count = fresh.enough();
  return count;
}

FreshSteps::FreshSteps(const Ledger& ledger, double epsilon, std::uint64_t most)
    : before_(histories_so_far(ledger)),
      steps_before_(ledger.steps(0)),
      epsilon_(epsilon),
      too_many_(most + 1) {}

bool FreshSteps::fit(const Ledger& ledger, std::uint64_t count) const {
  const std::uint64_t taken = ledger.steps(0) - steps_before_;
  return std::ranges::all_of(before_, [&](const auto& history) {
    const Steps steps = ledger.terms().bands != 0
                            ? Steps{ledger.correlated({}, count - taken)}
                            : with_fresh(ledger.terms(), history.second, count);
    const Epsilon found = evaluate(ledger, steps, Method::tight);
    return found.value + found.error <= epsilon_;
  });
}

bool FreshSteps::reach_beyond(const Ledger& ledger, std::uint64_t count) {
  while (enough_ <= count && too_many_ - enough_ > 1) {
    std::uint64_t next = std::max<std::uint64_t>(1, 2 * enough_);
    if (next >= too_many_) next = enough_ + (too_many_ - enough_) / 2;
    (fit(ledger, next) ? enough_ : too_many_) = next;
  }
  return enough_ > count;
}

Budget::Budget(double epsilon, std::uint64_t most) : epsilon_(epsilon), most_(most) {
  check_epsilon(epsilon);
  check(most > 0, "a budget for at least one step");
}

// An epoch costs what the step of it does that tells most: a fresh one beside another under the
// same terms is free, and the first of an epoch, which may have others from before, is evaluated.
bool Budget::take_shuffled(const Ledger& ledger, std::span<const OpenRow> next, bool fresh) {
  const Step epoch = next.front().step / ledger.terms().steps_per_epoch;
  if (fresh && epoch_ == epoch) return true;
  if (epsilon_with(ledger, next) > epsilon_) return false;
  epoch_ = epoch;
  return true;
}

bool Budget::take(const Ledger& ledger, std::span<const OpenRow> next) {
  const bool fresh = std::ranges::none_of(
      next, [&](const OpenRow& row) { return ledger.knows(row.step, row.partition); });
  if (ledger.terms().sampling == Sampling::shuffle) return take_shuffled(ledger, next, fresh);
  if (!fresh) {  // costs something else, and changes what is left
    fresh_.reset();
    return epsilon_with(ledger, next) <= epsilon_;
  }
  if (!fresh_ || taken_ == most_) {
    fresh_.emplace(ledger, epsilon_, most_);
    taken_ = 0;
  }
  if (!fresh_->reach_beyond(ledger, taken_)) return false;
  ++taken_;
  return true;
}

}  // namespace sheaf::privacy
