// One rank of a job, from its seat to its exit code: registers with the coordinator, builds a
// server or a worker from the config, runs it, and reports. No MPI here; how a rank got its seat is
// the business of rank_main.
#pragma once

#include "launcher/config/run_config.h"
#include "launcher/run/seat.h"

namespace sheaf::launcher {

// Runs to the end of the job. Returns the exit code; says why on stderr if it is not 0.
int run_rank(const RunConfig& config, const Seat& seat);

}  // namespace sheaf::launcher
