#include "launcher/bench/bench_step.h"

#include <ostream>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/math/blas.h"
#include "launcher/bench/partition_price.h"
#include "launcher/bench/step_figures.h"
#include "launcher/bench/step_meter.h"
#include "launcher/config/run_config.h"

namespace sheaf::launcher {
namespace {

RunConfig load(const BenchCommand& command, const std::vector<std::string>& more) {
  std::vector<std::string> overrides = command.job.overrides;
  overrides.emplace_back("run.epochs=1000000");  // as many steps as the measurement takes
  overrides.insert(overrides.end(), more.begin(), more.end());
  RunConfig config = RunConfig::load(command.job.file, overrides, std::chrono::system_clock::now(),
                                     RunConfig::Servers::optional);
  config.require_sound();
  return config;
}

// The job's step with privacy / without, where sums are noised by servers and by partitions. Empty
// for a job that is private already or has no servers; null where privacy cannot be had beside
// something else of it.
nlohmann::ordered_json privacy_prices(const BenchCommand& command, const RunConfig& config,
                                      double step_ms) {
  nlohmann::ordered_json prices = nlohmann::ordered_json::object();
  if (config.privacy().on || config.run().servers == 0) return prices;
  for (const std::string where : {"central", "local"}) {
    try {
      const RunConfig with =
          load(command, {"data.sampling=poisson", "privacy.kind=gaussian", "privacy.where=" + where,
                         "privacy.noise=1", "privacy.delta=1e-12"});
      prices[where] = step_figures(measure_steps(with)).at("step_ms").get<double>() / step_ms;
    } catch (const Error& error) {
      if (error.fault() != Fault::config) throw;
      prices[where] = nullptr;
    }
  }
  return prices;
}

}  // namespace

int bench_step(const BenchCommand& command, std::ostream& out) {
  const RunConfig config = load(command, {});
  if (config.local_steps() != 0) {
    fail(Fault::config,
         "consistency.kind: found \"local\", expected another: what a step is held against is one "
         "gradient of the batch, not a round of local steps");
  }
  math::set_blas_threads(static_cast<int>(config.run().blas_threads));
  nlohmann::ordered_json figures = step_figures(measure_steps(config));
  figures["privacy_price"] = privacy_prices(command, config, figures.at("step_ms").get<double>());
  const LoopPrices loops =
      loop_prices(load(command, {"run.workers=1", "run.partitions=1", "run.servers=0"}));
  figures["partition_price"] = loops.partition;
  figures["data_price"] = loops.data;
  const PartitionPrices prices = prices_of_p(config);
  figures["compute_alone_ms"] = 1e3 * prices.alone_seconds;
  for (const auto& [p, price] : prices.price) figures["price_of_p"][std::to_string(p)] = price;
  figures["batch"] = config.data().batch;
  figures["workers"] = config.run().workers;
  figures["servers"] = config.run().servers;
  figures["partitions"] = config.run().partitions;
  if (command.json) {
    out << figures.dump(1) << "\n";
  } else {
    print_figures(figures, out);
  }
  return 0;
}

}  // namespace sheaf::launcher
