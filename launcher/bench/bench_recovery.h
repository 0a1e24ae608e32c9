// `sheaf bench recovery JOB.toml`: how fast a job is back after it has lost a process, and what
// checkpoints cost. Runs the job several times under `sheaf train` and kills ranks of it.
#pragma once

#include <iosfwd>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Takes some minutes. Figures go to `out`, progress to `err`. Throws Fault::config if the job has
// faults or no rank on this host, Fault::network if a job does not come back.
int bench_recovery(const BenchCommand& command, std::ostream& out, std::ostream& err);

}  // namespace sheaf::launcher
