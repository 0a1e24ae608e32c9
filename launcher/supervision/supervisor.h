// `sheaf train`: checks everything first, starts the ranks under mpirun, coordinates, watches, and
// reports. Contains no MPI, so that no rank can take it down; believes leases, not exit codes.
#pragma once

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Returns the exit code of the job. Throws for faults before anything was started.
int train(const TrainCommand& command);

}  // namespace sheaf::launcher
