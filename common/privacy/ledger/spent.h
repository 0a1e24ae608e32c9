// What a ledger comes to: the epsilon of everything that it says was released, and how far a budget
// reaches. Where noise is local each example is in one partition, and the partition that has
// released most counts. Plain maths over a Ledger.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

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

// Says whether steps may be opened, without an evaluation for each: fresh steps are counted down.
class Budget {
 public:
  // It looks no further ahead than `most` steps: how many a job has at most.
  Budget(double epsilon, std::uint64_t most);
  // False: the budget does not reach. True: they are opened next, before it is asked again.
  bool take(const Ledger& ledger, std::span<const OpenRow> next);

 private:
  double epsilon_;
  std::uint64_t most_;
  std::uint64_t fresh_ = 0;  // so many are known to fit
};

}  // namespace sheaf::privacy
