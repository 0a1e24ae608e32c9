// Measures the steps of a job whose roles are threads of this process and exchange as the processes
// of one host do. Blocks of the job's steps
// alternate with blocks in which every worker does the same step alone, without servers, and
// repeats the step's bare matrix products: what a noisy machine does to one it does to the others.
#pragma once

#include "launcher/bench/step_figures.h"
#include "launcher/config/run_config.h"

namespace sheaf::launcher {

// Runs all roles of the job until enough of its steps are known, and returns the samples of the
// first worker. With run.servers = 0 a step is one of a worker alone, and its own baseline.
// Throws what ended the job, if it fails.
StepSamples measure_steps(const RunConfig& config);

}  // namespace sheaf::launcher
