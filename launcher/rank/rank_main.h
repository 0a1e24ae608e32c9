// `sheaf rank`: finds its seat by one of two rendezvous, then runs the rank.
//   - under mpirun: rank and size come from MPI; the coordinator is the supervisor's, named in the
//     environment, or, by hand, lives in rank 0 and is announced over MPI, which is then finalized;
//   - with --join FILE --process ROLE:ID: by the control file of a running job, without MPI.
#pragma once

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Returns the exit code of this process; throws only for faults before it has a seat.
int rank_main(const RankCommand& command);

}  // namespace sheaf::launcher
