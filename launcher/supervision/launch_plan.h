// The mpirun command that starts the ranks of a job, made from its config and what this machine
// has.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/wire/messages.h"
#include "launcher/config/command_line.h"
#include "launcher/config/run_config.h"
#include "launcher/supervision/mpirun_command.h"

namespace sheaf::launcher {

// Where mpirun will put the ranks of a job.
Placement placement_of(const RunConfig& config);

// Who coordinates: `sheaf train`, which tells the ranks where it is, or rank 0.
enum class Coordinated { by_train, by_hand };

// Throws Fault::config if there is no mpirun that it knows. `job` is what each rank reads.
MpirunCommand plan_launch(const RunConfig& config, const JobArguments& job,
                          const std::filesystem::path& program, Coordinated coordinated);

// The command that starts a process of a running job in the place of a lost one, which finds it by
// its run directory: on the host of that one, or here. Throws the same, also if the job's list of
// hosts does not name that host.
std::vector<std::string> plan_successor(const RunConfig& config,
                                        const std::filesystem::path& program,
                                        const std::filesystem::path& run,
                                        const wire::ProcessInfo& lost, bool here);

}  // namespace sheaf::launcher
