#include "launcher/bench_step.h"

#include <ostream>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/math/blas.h"
#include "launcher/partition_price.h"
#include "launcher/run_config.h"
#include "launcher/step_figures.h"
#include "launcher/step_meter.h"

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
