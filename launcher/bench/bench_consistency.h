// `sheaf bench consistency JOB.toml`: what each consistency model makes of a job with four workers,
// undisturbed and with one worker late in each step: how fast, and to which loss.
#pragma once

#include <iosfwd>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Trains the whole job twice for each row of the table. Figures go to `out`, progress to `err`.
// Throws Fault::config if the job has faults.
int bench_consistency(const BenchCommand& command, std::ostream& out, std::ostream& err);

}  // namespace sheaf::launcher
