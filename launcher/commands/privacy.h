// `sheaf privacy`: what a number of steps costs in privacy, or how much noise keeps it to a budget,
// or what a job has spent by its ledger.
#pragma once

#include <iosfwd>

#include "launcher/config/privacy_arguments.h"

namespace sheaf::launcher {

// Writes one figure a line, or one JSON object with --json, to `out`. Returns 0. Throws
// Fault::config if no noise reaches the epsilon, or the run has no ledger; Fault::data if that is
// damaged.
int show_privacy(const PrivacyCommand& command, std::ostream& out);

}  // namespace sheaf::launcher
