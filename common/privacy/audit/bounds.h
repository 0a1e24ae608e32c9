// What guesses about canaries refute. A canary is a unit that was put into the data with
// probability 1/2, and an auditor who sees what was released guesses for some of them whether they
// were in. Who guesses better than a privacy claim allows refutes it. Pure functions.
#pragma once

#include <cstdint>

#include "common/privacy/audit/trade_off.h"

namespace sheaf::privacy {

// REQUIRES: correct <= guesses <= canaries.
struct Guesses {
  std::uint64_t canaries = 0;
  std::uint64_t guesses = 0;  // about others the auditor said nothing
  std::uint64_t correct = 0;
};

// The probability of so many correct guesses is at most that if one run with all canaries is
// (epsilon, delta)-private (Steinke, Nasr, Jagielski, "Privacy auditing with one training run",
// NeurIPS 2023, theorem 5.2).
double one_run_p_value(const Guesses& guesses, double epsilon, double delta);

// Whether one run whose trade-off curve is `claim` has so many correct guesses with probability
// below `significance` (Mahloujifar, Melis, Chaudhuri, "Auditing f-differential privacy in one
// run", 2024, algorithm 3). Canaries may depend on each other in any way. Far stronger than the
// p-value above where delta times the canaries is not tiny, and still not tight.
bool refuted_in_one_run(const Guesses& guesses, const TradeOff& claim, double significance);

// What one threshold found.
struct Found {
  std::uint64_t in = 0, in_found = 0;    // canaries that were in; of them, guessed to be in
  std::uint64_t out = 0, out_found = 0;  // those that were not; of them, guessed to be in
};

// The same where canaries do not influence each other, as those do not that have coordinates and
// noise of their own: then they are as many runs with one canary each (Clopper-Pearson bounds of
// both error rates; Nasr et al., "Tight auditing of differentially private machine learning",
// USENIX Security 2023).
bool refuted_if_independent(const Found& found, const TradeOff& claim, double significance);

}  // namespace sheaf::privacy
