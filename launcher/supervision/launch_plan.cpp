#include "launcher/supervision/launch_plan.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "launcher/run/seat.h"
#include "launcher/system/child.h"

namespace sheaf::launcher {

Placement placement_of(const RunConfig& config) {
  return find_placement(config.launch().hostfile, config.launch().mpirun_args,
                        [](const char* name) { return std::getenv(name); });
}

namespace {

// For ranks that read that job file.
MpirunRequest request_of(const RunConfig& config, const JobArguments& job,
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
  return request;
}

// Where the job lists no hosts itself, they are those of an allocation, which has them by name.
std::string name_for_mpirun(const MpirunRequest& request, const wire::ProcessInfo& lost) {
  const std::vector<JobHost> list = request.hostfile.empty()
                                        ? hosts_of_arguments(request.mpirun_args)
                                        : read_hostfile(request.hostfile);
  if (list.empty()) return lost.host;
  const auto name = name_in_list(list, lost.host, lost.address, addresses_of);
  if (name) return *name;
  fail(Fault::config,
       "{}: found no line for the host {} ({}), on which {} is to be started again; name it there "
       "as "
       "it calls itself, or by that address",
       request.hostfile.empty() ? "--host of launch.mpirun_args"
                                : "launch.hostfile " + request.hostfile.string(),
       lost.host, lost.address, to_string(lost.process));
}

}  // namespace

MpirunCommand plan_launch(const RunConfig& config, const JobArguments& job,
                          const std::filesystem::path& program, Coordinated coordinated) {
  return mpirun_command(request_of(config, job, program, coordinated));
}

std::vector<std::string> plan_successor(const RunConfig& config,
                                        const std::filesystem::path& program,
                                        const std::filesystem::path& run,
                                        const wire::ProcessInfo& lost, bool here) {
  const ProcessId process = lost.process;
  const JobArguments job{run / "config.toml", {}};
  const std::vector<std::string> seat = {
      "--join", (run / "control.json").string(), "--process",
      fmt::format("{}:{}", process.role == Role::server ? "server" : "worker", process.id)};
  std::vector<std::string> argv = {program.string(), "rank", job.file.string()};
  if (!here) {
    MpirunRequest request = request_of(config, job, program, Coordinated::by_hand);
    request.ranks = 1;
    request.forwarded.emplace_back(kIncarnationVariable);
    const std::string host = name_for_mpirun(request, lost);
    request.mpirun_args = without_hosts(request.mpirun_args);
    request.mpirun_args.insert(request.mpirun_args.end(), {"--host", host});
    argv = mpirun_command(request).argv;
  }
  argv.insert(argv.end(), seat.begin(), seat.end());
  return argv;
}

}  // namespace sheaf::launcher
