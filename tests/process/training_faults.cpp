// What goes wrong while the job trains.
#include <csignal>

#include "tests/process/fault_rows.h"

namespace sheaf::harness {

std::vector<Fault> training_faults() {
  constexpr Limit kDead(5000);  // timeouts.dead of the job
  return {
      {.name = "LossDiverges",
       .prepare = [](Job& job) { job.tables["optimizer"] = "kind = \"sgd\"\nrate = 1e30\n"; },
       .exit = 6,
       .says = {"is not finite; lower the rate", "training step", "Exit code 6: diverged"},
       .blame = Blame{{0, 1, 2, 3}, "training step"}},
      {.name = "WorkerIsKilled",
       .strike = [](Running& job) { job.signal("worker", 1, SIGKILL); },
       .exit = 4,
       .says = {"Job small failed: worker 1", "(rank 3), training step", "is gone"},
       .blame = Blame{{3}, "training step"}},
      {.name = "FirstWorkerIsKilled",
       .strike = [](Running& job) { job.signal("worker", 0, SIGKILL); },
       .exit = 4,
       .says = {"Job small failed: worker 0", "(rank 2), training step", "is gone"},
       .blame = Blame{{2}, "training step"}},
      {.name = "ServerIsKilled",
       .strike = [](Running& job) { job.signal("server", 1, SIGKILL); },
       .exit = 4,
       .says = {"Job small failed: server 1", "(rank 1), training step", "is gone"},
       .blame = Blame{{1}, "training step"}},
      {.name = "FirstServerIsKilled",
       .strike = [](Running& job) { job.signal("server", 0, SIGKILL); },
       .exit = 4,
       .says = {"Job small failed: server 0", "(rank 0), training step", "is gone"},
       .blame = Blame{{0}, "training step"}},
      {.name = "WorkerStops",
       .strike = [](Running& job) { job.signal("worker", 1, SIGSTOP); },
       .exit = 4,
       .says = {"Job small failed: worker 1", "(rank 3), training step", "taken for dead"},
       .blame = Blame{{3}, "training step"},
       .detection = kDead},
      {.name = "ServerStops",
       .strike = [](Running& job) { job.signal("server", 0, SIGSTOP); },
       .exit = 4,
       .says = {"Job small failed: server 0", "(rank 0), training step", "taken for dead"},
       .blame = Blame{{0}, "training step"},
       .detection = kDead},
      {.name = "WorkerIsTerminated",  // kill PID by hand
       .strike = [](Running& job) { job.signal("worker", 0, SIGTERM); },
       .exit = 4,
       .says = {"Job small failed: worker 0", "is gone"},
       .blame = Blame{{2}, "training step"}},
  };
}

}  // namespace sheaf::harness
