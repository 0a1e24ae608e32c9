// `sheaf bench step JOB.toml`: where the time of a training step goes, against its floors. Runs the
// job's own servers and workers as threads of this process over loopback TCP for a few hundred
// steps (with run.servers = 0: workers that optimise by themselves), then prices the cutting of the
// data into partitions on one worker's compute alone.
#pragma once

#include <iosfwd>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Prints a line for each figure and what it means, or with --json one object: the keys of
// step_figures(), privacy_price {"central": 1.1, "local": 1.2}, partition_price, data_price,
// compute_alone_ms, price_of_p {"1": 1.0, …}, batch, workers, servers, partitions. Returns 0.
int bench_step(const BenchCommand& command, std::ostream& out);

}  // namespace sheaf::launcher
