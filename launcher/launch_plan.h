// The mpirun command that starts the ranks of a job, made from its config and what this machine
// has.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "launcher/command_line.h"
#include "launcher/mpirun_command.h"
#include "launcher/run_config.h"

namespace sheaf::launcher {

// Where mpirun will put the ranks of a job.
Placement placement_of(const RunConfig& config);

// Who coordinates: `sheaf train`, which tells the ranks where it is, or rank 0.
enum class Coordinated { by_train, by_hand };

// Throws Fault::config if there is no mpirun that it knows. `job` is what each rank reads.
MpirunCommand plan_launch(const RunConfig& config, const JobArguments& job,
                          const std::filesystem::path& program, Coordinated coordinated);

// The command that starts one more process of a running job, which finds it by its run directory:
// on that host, or here if that is empty. The same throws.
std::vector<std::string> plan_successor(const RunConfig& config,
                                        const std::filesystem::path& program,
                                        const std::filesystem::path& run, ProcessId process,
                                        const std::string& host);

}  // namespace sheaf::launcher
