// One row of the fault table: what is caused, and what a user is to see of it. A row holds if the
// program ends with that exit code in time, says who, what and where, leaves no process, and has
// written a result.json that tells the same.
#pragma once

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/harness/job.h"

namespace sheaf::harness {

inline constexpr int kNoRank = -1;   // the fault of the launcher or of the user: of no rank
inline constexpr Limit kDead(5000);  // timeouts.dead of the small job

struct Blame {
  std::vector<int> ranks;  // any of them: where every worker finds the same file broken
  std::string phase;       // is part of error.phase
};

struct Fault {
  const char* name;
  std::function<void(Job&)> prepare = {};     // before the start
  std::function<void(Running&)> strike = {};  // while it trains; without it the job ends by itself
  int exit;
  std::vector<std::string> says;    // each is part of stderr; the first once only
  std::optional<Blame> blame = {};  // nothing: refused before a run directory was made
  Limit detection = Limit(0);       // how long it may take to be noticed
};

std::ostream& operator<<(std::ostream& out, const Fault& fault);

// Rows of the small job of 2 servers and 2 workers: a rank dies, or stops and says no more, while
// it trains.
Fault killed(const char* name, std::string_view role, unsigned id);
Fault stopped(const char* name, std::string_view role, unsigned id);

// Causes it and expects what the row says.
void show(const Fault& fault, bool under_mpirun = false);

}  // namespace sheaf::harness
