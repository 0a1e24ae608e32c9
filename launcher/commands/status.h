// `sheaf status RUN`: what runs, where, at which step, and who waits for whom since when.
// `sheaf scale RUN --workers N`: goes on with another number of workers.
#pragma once

#include <iosfwd>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Returns 0, also for a job that has ended. Throws Fault::config if it is no run directory,
// Fault::network if its supervisor is gone or does not answer.
int show_status(const StatusCommand& command, std::ostream& out);

// Returns 0 once the job has taken it. Throws Fault::config if it does not, else as above.
int scale_job(const ScaleCommand& command, std::ostream& out);

}  // namespace sheaf::launcher
