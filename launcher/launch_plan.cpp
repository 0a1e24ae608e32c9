#include "launcher/launch_plan.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "launcher/child.h"
#include "launcher/rank.h"

namespace sheaf::launcher {

Placement placement_of(const RunConfig& config) {
  return find_placement(config.launch().hostfile, config.launch().mpirun_args,
                        [](const char* name) { return std::getenv(name); });
}

MpirunCommand plan_launch(const RunConfig& config, const JobArguments& job,
                          const std::filesystem::path& program, Coordinated coordinated) {
  MpirunRequest request;
  const char* path = std::getenv("PATH");
  request.mpirun = find_mpirun(path == nullptr ? "" : path);
  request.open_mpi_major =
      open_mpi_major(output_of({request.mpirun.string(), "--version"}, std::chrono::seconds(20)));
  request.ranks = config.run().servers + config.run().workers;
  request.root = ::geteuid() == 0;
  request.placement = placement_of(config);
  request.hostfile = config.launch().hostfile;
  if (config.network().interface != "auto") request.interface = config.network().interface;
  request.mpirun_args = config.launch().mpirun_args;
  request.forwarded = blas_variables(environ);
  if (coordinated == Coordinated::by_train) {
    request.forwarded.insert(request.forwarded.end(),
                             {kCoordinatorVariable, kKeyVariable, kIncarnationVariable});
  }
  request.program = program;
  request.job_file = std::filesystem::absolute(job.file);
  request.overrides = job.overrides;
  return mpirun_command(request);
}

}  // namespace sheaf::launcher
