#include "launcher/slurm.h"

#include <fmt/format.h>

#include <ostream>

#include "launcher/mpirun_command.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;

// {0} name, {1} ranks, {2} cores of each, {3} program, {4} job file, {5} run directory,
// {6} overrides.
constexpr const char* kScript = R"sh(#!/bin/bash
# Written by sheaf slurm. Submit it with sbatch, whose own arguments (--partition, --time, --nodes)
# win over the lines below. Preempted, or two minutes before its time limit, the job saves its step
# and is requeued; started again, it goes on from its newest checkpoint.
#SBATCH --job-name={0}
#SBATCH --ntasks={1}
#SBATCH --cpus-per-task={2}
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

sheaf={3}
job={4}
run={5}  # the same after it was requeued
export SLURM_OVERLAP=1  # a start does not wait for steps that a lost node still holds

if compgen -G "$run/checkpoints/step-*/MANIFEST" >/dev/null; then
  "$sheaf" train --resume "$run" &
else
  [[ ! -e $run ]] || mv -- "$run" "$run.$(date +%s)"  # nothing to go on from
  "$sheaf" train "$job"{6} run.dir="$run" &
fi
train=$!
trap 'kill -USR1 "$train"' USR1 TERM
code=0
while kill -0 "$train" 2>/dev/null; do
  wait "$train"
  code=$?
done

# 75: it was asked to end, and can go on. A job that Slurm preempts is requeued by Slurm, too.
if ((code == 75)); then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
)sh";

std::string quoted(const std::string& word) { return shell_line(std::span(&word, 1)); }

}  // namespace

std::string slurm_script(const RunConfig& config, const JobArguments& job, const fs::path& program,
                         const fs::path& folder) {
  const RunSection& run = config.run();
  std::string overrides;
  for (const std::string& word : job.overrides) {
    if (!word.starts_with("run.dir=")) overrides += " " + quoted(word);
  }
  const std::string directory =
      run.dir_is_given
          ? quoted((folder / run.dir).lexically_normal())
          : quoted((folder / "runs" / (run.name + "-")).lexically_normal()) + "$SLURM_JOB_ID";
  return fmt::format(fmt::runtime(kScript), run.name, run.servers + run.workers, run.blas_threads,
                     quoted(program), quoted((folder / job.file).lexically_normal()), directory,
                     overrides);
}

int write_slurm(const SlurmCommand& command, std::ostream& out) {
  RunConfig config = RunConfig::load(command.job.file, command.job.overrides);
  config.require_sound();
  out << slurm_script(config, command.job, fs::read_symlink("/proc/self/exe"), fs::current_path());
  return 0;
}

}  // namespace sheaf::launcher
