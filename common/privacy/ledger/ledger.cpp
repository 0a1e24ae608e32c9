#include "common/privacy/ledger/ledger.h"

#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "common/checkpoint/refuse.h"
#include "common/privacy/correlated/prefix_factor.h"

namespace sheaf::privacy {

using checkpoint::refuse;

double Ledger::Releases::precision() const {
  double sum = unknown_precision;
  for (const Release& release : known) sum += release.precision;
  return sum;
}

void Ledger::begin(const LedgerTerms& terms) {
  check_terms(terms);
  if (begun()) {
    const LedgerTerms& before = terms_.back();
    if (before.where != terms.where || before.partitions != terms.partitions) {
      fail(Fault::config,
           "the ledger of this job has {} noise and {} partitions, expected the same, found {} and "
           "{}: nobody could say what an example has been in",
           to_string(before.where), before.partitions, to_string(terms.where), terms.partitions);
    }
    if (before.unit != terms.unit || before.adjacency != terms.adjacency ||
        before.sampling != terms.sampling) {
      fail(Fault::config,
           "the ledger of this job is about {} of {} with {} batches, expected the same, found {} "
           "of {} with {} batches",
           to_string(before.adjacency), to_string(before.unit), to_string(before.sampling),
           to_string(terms.adjacency), to_string(terms.unit), to_string(terms.sampling));
    }
    if (before.units() != terms.units() || before.steps_per_epoch != terms.steps_per_epoch) {
      fail(Fault::config,
           "the ledger of this job is about {} {}s with {} steps in an epoch, expected the "
           "same, found {} with {}: one of them would be in other steps than it says. Bring the "
           "data back as they were, or begin a new job",
           before.units(), to_string(before.unit), before.steps_per_epoch, terms.units(),
           terms.steps_per_epoch);
    }
    if (before.bands != 0 || terms.bands != 0) require_same_noise(before, terms);
  }
  if (terms.bands != 0) begin_branch(terms.branch);
  terms_.push_back(terms);
  open_.clear();
  const auto found = std::ranges::find(sampling_secrets_, terms.sampling_secret);
  sampling_ = static_cast<std::uint32_t>(found - sampling_secrets_.begin());
  if (found == sampling_secrets_.end()) sampling_secrets_.push_back(terms.sampling_secret);
}

// White noise of the steps before is still to be taken back: in that size, and of that secret.
void Ledger::require_same_noise(const LedgerTerms& before, const LedgerTerms& terms) {
  if (before.bands != terms.bands || before.noise != terms.noise || before.clip != terms.clip) {
    fail(Fault::config,
         "the ledger of this job is about {} noise with {} bands, noise {} and clip {}, expected "
         "the same, found {} noise with {} bands, noise {} and clip {}: later steps take back what "
         "earlier ones have added",
         mechanism_of(before), before.bands, before.noise, before.clip, mechanism_of(terms),
         terms.bands, terms.noise, terms.clip);
  }
  if (before.noise_secret != terms.noise_secret ||
      before.sampling_secret != terms.sampling_secret) {
    fail(Fault::config,
         "the secrets of this job are lost, or another copy of it has used them: its noise so far, "
         "which later steps would take back, cannot be made again. Bring them back from a copy, or "
         "begin a new job");
  }
}

void Ledger::begin_branch(const NoiseBranch& branch) {
  Account& account = accounts_[0];
  if (branch.first > account.next) {
    fail(Fault::privacy,
         "the ledger of this job has {} steps, but the job goes on from step {}: what those before "
         "it have cost is not known. Bring the file back from a copy, or begin a new job",
         account.next, branch.first);
  }
  const auto same = [&](const LedgerTerms& known) { return known.branch.name == branch.name; };
  if (std::ranges::any_of(terms_, same)) refuse("its branch was there before");
  std::erase_if(branches_, [&](const NoiseBranch& known) { return known.first >= branch.first; });
  branches_.push_back(branch);
  account.next = branch.first;
}

std::uint32_t Ledger::accounts() const {
  return terms().where == NoisePlace::central ? 1 : terms().partitions;
}

void Ledger::require_account(std::uint32_t account) const {
  if (!begun()) refuse("there are no terms before it");
  if (account >= accounts()) refuse("there is no partition {}, only {}", account, accounts());
}

Ledger::Key Ledger::key_of(Step step, std::uint32_t account) const {
  return {account, sampling_, step};
}

void Ledger::open(const OpenRow& row) {
  require_account(row.partition);
  if (terms().bands != 0 && row.step != accounts_[0].next) {
    refuse("step {} is opened, expected step {}", row.step, accounts_[0].next);
  }
  Releases& releases = releases_[key_of(row.step, row.partition)];
  releases.terms = static_cast<std::uint32_t>(terms_.size() - 1);
  releases.rate = std::max(releases.rate, terms().sampling_rate);
  releases.unknown_precision += precision();
  ++releases.unknown;
  open_.insert({row.step, row.partition});
  Account& account = accounts_[row.partition];
  account.last_open = row.step;
  account.next = row.step + 1;
}

void Ledger::done(const DoneRow& row) {
  require_account(row.partition);
  const auto open = open_.find({row.step, row.partition});
  if (open == open_.end()) refuse("step {} is done, but was not opened before", row.step);
  open_.erase(open);
  Account& account = accounts_[row.partition];
  if (account.last_open == row.step) account.last_open.reset();

  Releases& releases = releases_.at(key_of(row.step, row.partition));
  --releases.unknown;
  // Not by subtraction alone: what is left of no opened step is nothing.
  releases.unknown_precision =
      releases.unknown == 0 ? 0 : std::max(0.0, releases.unknown_precision - precision());
  // That sums of other examples, or clipped otherwise, are the same and hidden alike would tell of
  // them: with another noise it is another release, whatever its digest.
  const auto same = [&](const Release& known) {
    return known.digest == row.digest && known.precision == precision();
  };
  if (terms().bands == 0 && std::ranges::any_of(releases.known, same)) return;
  releases.known.push_back({row.digest, precision()});
}

void Ledger::apply(const LedgerRow& row) {
  if (const auto* terms = std::get_if<LedgerTerms>(&row.what)) return begin(*terms);
  if (const auto* open = std::get_if<OpenRow>(&row.what)) return this->open(*open);
  done(std::get<DoneRow>(row.what));
}

bool Ledger::has(const DoneRow& release) const {
  if (!begun()) return false;
  const auto found = releases_.find(key_of(release.step, release.partition));
  if (found == releases_.end()) return false;
  const auto same = [&](const Release& known) {
    return known.digest == release.digest && known.precision == precision();
  };
  return std::ranges::any_of(found->second.known, same);
}

bool Ledger::knows(Step step, std::uint32_t account) const {
  return begun() && releases_.contains(key_of(step, account));
}

std::optional<Step> Ledger::last_open(std::uint32_t account) const {
  const auto found = accounts_.find(account);
  return found == accounts_.end() ? std::nullopt : found->second.last_open;
}

Step Ledger::next(std::uint32_t account) const {
  const auto found = accounts_.find(account);
  return found == accounts_.end() ? 0 : found->second.next;
}

std::uint64_t Ledger::steps(std::uint32_t account) const {
  return static_cast<std::uint64_t>(std::distance(releases_.lower_bound({account, 0, 0}),
                                                  releases_.lower_bound({account + 1, 0, 0})));
}

std::uint64_t Ledger::releases(std::uint32_t account) const {
  std::uint64_t total = 0;
  const auto end = releases_.lower_bound({account + 1, 0, 0});
  for (auto at = releases_.lower_bound({account, 0, 0}); at != end; ++at) {
    total += at->second.unknown + at->second.known.size();
  }
  return total;
}

double Ledger::squared_sensitivity(std::optional<Step> extra, std::uint64_t fresh) const {
  std::vector<std::uint32_t> times;  // a step is opened behind those before it: without a gap
  for (const auto& [key, releases] : releases_) {
    times.push_back(releases.unknown + static_cast<std::uint32_t>(releases.known.size()));
  }
  if (extra && *extra < times.size()) {
    ++times[*extra];
  } else if (extra) {
    times.push_back(1);
  }
  times.insert(times.end(), fresh, 1);
  return PrefixFactor(terms().bands).squared_sensitivity(terms().steps_per_epoch, times);
}

GaussianSteps Ledger::correlated(std::optional<Step> extra, std::uint64_t fresh) const {
  return {1, terms().noise / std::sqrt(squared_sensitivity(extra, fresh)), 1};
}

std::vector<GaussianSteps> Ledger::history(std::uint32_t account, std::optional<Step> extra) const {
  if (!begun()) return {};
  if (terms().bands != 0) {
    if (releases_.empty() && !extra) return {};
    return {correlated(extra, 0)};
  }
  std::map<std::pair<double, double>, std::uint64_t> count;   // of rate and precision
  std::map<std::pair<std::uint32_t, Step>, double> of_epoch;  // precision, by secret and epoch
  const bool shuffled = terms().sampling == Sampling::shuffle;
  const auto add = [&](const Key& key, double rate, double precision, std::uint32_t terms) {
    if (!shuffled) {
      ++count[{rate, precision}];
      return;
    }
    // An example is in one step of an epoch: the one that tells most is the worst case.
    double& worst = of_epoch[{key.sampling, key.step / terms_[terms].steps_per_epoch}];
    worst = std::max(worst, precision);
  };
  const auto in_force = static_cast<std::uint32_t>(terms_.size() - 1);
  const Key end{account + 1, 0, 0};
  bool found = false;
  for (auto at = releases_.lower_bound({account, 0, 0}); at != releases_.lower_bound(end); ++at) {
    const auto& [key, releases] = *at;
    const bool more = extra && key == key_of(*extra, account);
    found = found || more;
    add(key, more ? std::max(releases.rate, terms().sampling_rate) : releases.rate,
        releases.precision() + (more ? precision() : 0), releases.terms);
  }
  if (extra && !found) {
    add(key_of(*extra, account), terms().sampling_rate, precision(), in_force);
  }
  for (const auto& [epoch, precision] : of_epoch) ++count[{1.0, precision}];
  std::vector<GaussianSteps> history;
  for (const auto& [step, number] : count) {
    history.push_back({step.first, 1 / std::sqrt(step.second), number});
  }
  return history;
}

}  // namespace sheaf::privacy
