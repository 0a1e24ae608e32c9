// What a ledger comes to: the epsilon of everything that it says was released, and how far a budget
// reaches. Where noise is local each example is in one partition, and the partition that has
// released most counts. Plain maths over a Ledger.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/privacy/accounting/accountant.h"
#include "common/privacy/ledger/ledger.h"

namespace sheaf::privacy {

struct Spent {
  Epsilon epsilon;             // 0 with accountant "none" if nothing was released
  std::uint32_t account = 0;   // the worst one
  std::uint64_t steps = 0;     // of it
  std::uint64_t releases = 0;  // of it: what is more than steps was charged for replays and crashes
};

// At the delta and adjacency of the terms in force. REQUIRES: ledger.begun().
Spent spent(const Ledger& ledger, Method method);

// As if each of `next` had been opened, once more if it was already.
double epsilon_with(const Ledger& ledger, std::span<const OpenRow> next);

// Steps that no account has opened so far, until `epsilon` would be passed under the terms in
// force; epsilon counts with its error, so it is never passed. At most `most`.
std::uint64_t steps_within(const Ledger& ledger, double epsilon, std::uint64_t most);

// By account, all steps of it.
using Steps = std::vector<GaussianSteps>;
using Histories = std::vector<std::pair<std::uint32_t, Steps>>;

// How many steps fit that no account has opened so far. It looks ahead as far as it has come: who
// counts up waits for an evaluation or two at a time, of which each may take a while, and for
// twice the logarithm of the steps in all.
class FreshSteps {
 public:
  // From what is in the ledger now on.
  FreshSteps(const Ledger& ledger, double epsilon, std::uint64_t most);
  // Whether more than `count` fit under the terms in force. REQUIRES: none but these were opened
  // since.
  bool reach_beyond(const Ledger& ledger, std::uint64_t count);
  std::uint64_t enough() const { return enough_; }  // so many are known to fit

 private:
  bool fit(const Ledger& ledger, std::uint64_t count) const;

  Histories before_;
  std::uint64_t steps_before_;
  double epsilon_;
  std::uint64_t enough_ = 0;
  std::uint64_t too_many_;
};

// Says whether steps may be opened, without an evaluation for each: fresh steps are counted, those
// of shuffled batches by the epoch, of which one costs what all do.
class Budget {
 public:
  // It looks no further ahead than `most` steps: how many a job has at most.
  Budget(double epsilon, std::uint64_t most);
  // False: the budget does not reach. True: they are opened next, before it is asked again.
  bool take(const Ledger& ledger, std::span<const OpenRow> next);

 private:
  bool take_shuffled(const Ledger& ledger, std::span<const OpenRow> next, bool fresh);

  double epsilon_;
  std::uint64_t most_;
  std::optional<Step> epoch_;  // of shuffled batches: the last one of which a step was taken
  std::optional<FreshSteps> fresh_;
  std::uint64_t taken_ = 0;  // of those
};

}  // namespace sheaf::privacy
