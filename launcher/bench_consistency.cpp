#include "launcher/bench_consistency.h"

#include <fmt/ostream.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launcher/straggling.h"

namespace sheaf::launcher {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kLate = 3;  // steps

struct Row {
  std::string name, gate;
  std::vector<std::string> overrides;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> kRows = {
      {"bsp", "bsp", {}},
      {"ssp, staleness 1", "ssp", {"consistency.staleness=1"}},
      {"ssp, staleness 3", "ssp", {"consistency.staleness=3"}},
      {"ssp, staleness 10", "ssp", {"consistency.staleness=10"}},
      {"asp", "asp", {}},
      {"drop, backup 1", "drop", {"consistency.backup=1"}},
  };
  return kRows;
}

}  // namespace

int bench_consistency(const BenchCommand& command, std::ostream& out, std::ostream& err) {
  const double step = run_straggling(with_four_workers(command.job, "bsp"), 0).step_seconds;
  Json table = Json::array();
  double bsp = 0;
  for (const Row& row : rows()) {
    err << fmt::format("{}: undisturbed, and one worker late by {} steps\n", row.name, kLate)
        << std::flush;
    const RunConfig config = with_four_workers(command.job, row.gate, row.overrides);
    const StragglingFigures quiet = run_straggling(config, 0);
    const StragglingFigures late = run_straggling(config, kLate * step);
    if (bsp == 0) bsp = late.examples_per_s;
    table.push_back({{"model", row.name},
                     {"quiet_examples_per_s", quiet.examples_per_s},
                     {"quiet_loss", quiet.loss},
                     {"late_examples_per_s", late.examples_per_s},
                     {"late_loss", late.loss},
                     {"late_over_bsp", late.examples_per_s / bsp}});
  }
  const Json figures = {{"step_ms", 1e3 * step}, {"late_steps", kLate}, {"models", table}};
  if (command.json) {
    out << figures.dump(1) << "\n";
    return 0;
  }
  fmt::print(out, "{:<20}{:>26}{:>36}\n{:<20}{:>14}{:>12}{:>14}{:>12}{:>10}\n", "", "undisturbed",
             "a worker late in each step", "", "examples/s", "loss", "examples/s", "loss",
             "to bsp");
  for (const Json& row : table) {
    fmt::print(out, "{:<20}{:>14.0f}{:>12.4f}{:>14.0f}{:>12.4f}{:>10.2f}\n",
               row["model"].get<std::string>(), row["quiet_examples_per_s"].get<double>(),
               row["quiet_loss"].get<double>(), row["late_examples_per_s"].get<double>(),
               row["late_loss"].get<double>(), row["late_over_bsp"].get<double>());
  }
  return 0;
}

}  // namespace sheaf::launcher
