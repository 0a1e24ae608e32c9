// How a job fares when one of its workers is late in every step, another one each time: the case
// that bounded staleness is made for. Roles are threads of this process.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launcher/config/command_line.h"
#include "launcher/config/run_config.h"

namespace sheaf::launcher {

struct StragglingFigures {
  double seconds = 0;         // from the first step to the last
  double examples_per_s = 0;  // of all workers
  double step_seconds = 0;    // median of the first worker's steps
  double loss = 0;            // of the final model on the whole training part
};

// Runs the job to its end. In step t worker t mod n (of n) takes `late` seconds longer.
// Throws what ended the job, if it failed.
StragglingFigures run_straggling(const RunConfig& config, double late);

// The job with four workers that host a partition each, and one server, behind another gate. A step
// of ssp and asp is that of one partition: the rate is a quarter of the job's there.
RunConfig with_four_workers(const JobArguments& job, std::string_view gate,
                            std::vector<std::string> overrides = {});

// How ssp with staleness 3 compares with bsp where one of four workers is late by three steps.
struct StragglingRatio {
  double throughput = 0;
  double loss = 0;  // of the final models
};
class StragglingPair {
 public:
  // At most 500 steps of the job. Throws Fault::config if one of the two has faults.
  explicit StragglingPair(const JobArguments& job);
  StragglingRatio compare() const;

 private:
  RunConfig bsp_, ssp_;
};

}  // namespace sheaf::launcher
