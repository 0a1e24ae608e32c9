// `sheaf slurm JOB.toml`: a batch script for Slurm. Near its time limit the job saves its step and
// is requeued, preempted it is requeued by Slurm; started again it goes on from its newest
// checkpoint.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>

#include "launcher/config/command_line.h"
#include "launcher/config/run_config.h"

namespace sheaf::launcher {

// The script. `folder` is where a run directory goes that the job file does not name. All paths are
// absolute. REQUIRES: config.check() was ok.
std::string slurm_script(const RunConfig& config, const JobArguments& job,
                         const std::filesystem::path& program, const std::filesystem::path& folder);

// Writes it for a job without faults; throws those of a job with any.
int write_slurm(const SlurmCommand& command, std::ostream& out);

}  // namespace sheaf::launcher
