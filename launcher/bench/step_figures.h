// The arithmetic and the words of `sheaf bench step`: from samples of single steps to the figures
// that are printed. Pure functions; what is measured, and how, stands in step_meter.h.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <vector>

namespace sheaf::launcher {

// What was measured of one worker. Seconds; one value per step, and steps of a kind together.
struct StepSamples {
  std::vector<double> step;                       // of the job; consists of the next three
  std::vector<double> compute;                    // the worker's own work
  std::vector<double> exposed;                    // its waits for the exchange
  std::vector<double> displaced;                  // when other threads had the core
  std::vector<double> exchange;                   // from the first push to the last parameter
  std::vector<double> baseline;                   // the same steps without servers
  std::vector<double> optimizer;                  // their optimizer
  std::vector<double> gemms;                      // the GEMMs of a step and nothing else
  double flops = 0;                               // of those GEMMs
  double blas_seconds = 0, computed_seconds = 0;  // by the wall, over all steps of the job
  double allocations = 0;                         // over all steps of the job
};

// step_ms, compute_ms, exchange_ms, exposed_ms, displaced_ms, blas_share, allocations_per_step,
// baseline_step_ms, optimizer_ms, ps_tax, gflops, sgemm_gflops, gemm_ratio, steps.
nlohmann::ordered_json step_figures(const StepSamples& samples);

// All figures as lines, each with what it means. REQUIRES: the keys of step_figures(), and
// privacy_price, partition_price, data_price, price_of_p, batch, workers, servers, partitions.
void print_figures(const nlohmann::ordered_json& figures, std::ostream& out);

}  // namespace sheaf::launcher
