// `sheaf bench step JOB.toml`: where the time of a training step goes. Runs the job's own servers
// and workers as threads of this process over loopback TCP for a few hundred steps, then prices the
// number of partitions on one worker's compute alone.
#pragma once

#include <iosfwd>

#include "launcher/command_line.h"

namespace sheaf::launcher {

// Prints a table, or with --json one object: step_ms, compute_ms, exchange_ms, exposed_ms,
// blas_share, allocations_per_step, price_of_p {"1": 1.0, …}. Returns 0.
int bench_step(const BenchCommand& command, std::ostream& out);

}  // namespace sheaf::launcher
