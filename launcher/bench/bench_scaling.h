// `sheaf bench scaling JOB.toml`: sweeps the job over numbers of workers and servers, and rates of
// the links if told how to set them. Each point is a real job, started as a person starts it.
#pragma once

#include <iosfwd>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Writes the table, or with --json the object, to `out`, one line per job to `err`, and
// scaling.json, scaling.html and the jobs' run directories into run.dir, whose path is the last
// line without --json. Looks at the hosts first, as `sheaf doctor` does; its faults end it. Returns
// 0, or the exit code of the first job that failed.
int bench_scaling(const BenchCommand& command, std::ostream& out, std::ostream& err);

}  // namespace sheaf::launcher
