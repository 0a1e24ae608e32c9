#include "tests/process/fault_rows.h"

namespace sheaf::harness {

std::vector<Fault> usage_faults() {
  return {
      {.name = "UnknownKey",
       .prepare = [](Job& job) { job.tables["run"] += "wrokers = 3\n"; },
       .exit = 2,
       .says = {"run.wrokers", "job.toml:", "workers"}},
      {.name = "SeveralFaultsAtOnce",
       .prepare =
           [](Job& job) {
             job.tables["optimizer"] = "kind = \"sdg\"\nrate = -1\n";
             job.overrides = {"run.workers=0"};
           },
       .exit = 2,
       .says = {"optimizer.kind", "sgd", "optimizer.rate", "override:", "run.workers"}},
      {.name = "OverrideWithoutAValue",
       .prepare = [](Job& job) { job.overrides = {"run.name"}; },
       .exit = 2,
       .says = {"run.name"}},
      {.name = "LastLayerDoesNotFitTheLoss",
       .prepare =
           [](Job& job) {
             job.tables["model"] = "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 3 }]\n";
           },
       .exit = 2,
       .says = {"job.toml:8:", "model.loss: found 3 outputs of the last layer", "try units = 1"}},
      {.name = "MpirunIsNotInstalled",
       .prepare = [](Job& job) { job.environment["PATH"] = "/nowhere"; },
       .exit = 2,
       .says = {"mpirun was not found in PATH; install openmpi-bin"}},
      {.name = "OtherMpirun",
       .prepare =
           [](Job& job) {
             job.write("mpirun", "#!/bin/sh\necho HYDRA build details\n");
             std::filesystem::permissions(job / "mpirun", std::filesystem::perms::owner_all);
             job.environment["PATH"] = job.folder();
           },
       .exit = 2,
       .says = {"HYDRA build details", "expected Open MPI 4 or later"}},
  };
}

}  // namespace sheaf::harness
