// What goes wrong while the job trains.
#include <csignal>

#include "tests/process/fault_rows.h"

namespace sheaf::harness {

std::vector<Fault> training_faults() {
  return {
      {.name = "LossDiverges",
       .prepare = [](Job& job) { job.tables["optimizer"] = "kind = \"sgd\"\nrate = 1e30\n"; },
       .exit = 6,
       .says = {"is not finite (", "lower the rate", "training step", "Exit code 6: diverged"},
       .blame = Blame{{0, 1, 2, 3}, "training step"}},
      killed("WorkerIsKilled", "worker", 1),
      killed("FirstWorkerIsKilled", "worker", 0),
      killed("ServerIsKilled", "server", 1),
      killed("FirstServerIsKilled", "server", 0),
      stopped("WorkerStops", "worker", 1),
      stopped("ServerStops", "server", 0),
      {.name = "WorkerIsTerminated",  // kill PID by hand
       .strike = [](Running& job) { job.signal("worker", 0, SIGTERM); },
       .exit = 4,
       .says = {"Job small failed: worker 0", "is gone"},
       .blame = Blame{{2}, "training step"}},
  };
}

}  // namespace sheaf::harness
