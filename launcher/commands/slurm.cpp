#include "launcher/commands/slurm.h"

#include <fmt/format.h>

#include <ostream>

#include "launcher/supervision/mpirun_command.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;

// {0} name, {1} ranks, {2} cores of each, {3} program, {4} job file, {5} run directory,
// {6} overrides.
constexpr const char* kScript = R"sh(#!/bin/bash
# Written by sheaf slurm. Submit it with sbatch, whose own arguments (--partition, --time, --nodes)
# win over the lines below. Two minutes before its time limit the job saves its step and is requeued;
# preempted, it is requeued by Slurm. Started again, it goes on from its newest checkpoint.
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

shopt -s nullglob
saved=("$run"/checkpoints/step-*/MANIFEST)
if ((${{#saved[@]}} > 0)); then
  "$sheaf" train --resume "$run" &
else
  # Nothing to go on from. If somebody is about to begin there, it is not ours.
  if [[ -e $run ]] && ! flock -n "$run/lock" mv -- "$run" "$run.$(date +%s)"; then
    echo "$run is in use by another job" >&2
    exit 2
  fi
  "$sheaf" train "$job"{6} run.dir="$run" &
fi
train=$!
limit=0
trap 'limit=1; kill -USR1 "$train"' USR1
trap 'kill -USR1 "$train"' TERM
code=0
while kill -0 "$train" 2>/dev/null; do
  wait "$train"
  code=$?
done

# 75: it was asked to end, and can go on. Who cancels it or preempts it knows what comes next.
if ((code == 75 && limit == 1)); then scontrol requeue "$SLURM_JOB_ID"; fi
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
