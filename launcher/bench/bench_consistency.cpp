#include "launcher/bench/bench_consistency.h"

#include <fmt/ostream.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launcher/bench/straggling.h"

namespace sheaf::launcher {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kLate = 3;  // steps

// How many times as fast as bsp, where one of four is late in each step: who waits for nobody but
// himself is late in a fourth of the steps; who stands in has waited for half a step, and then
// takes another one.
constexpr double kOwnPace = (1 + kLate) / (1 + kLate / 4);
constexpr double kStandIn = (1 + kLate) / (1 + 0.5 + 1);

struct Row {
  std::string name, gate;
  std::vector<std::string> overrides;
  double bound = 0;  // 0: it loses examples instead
};

const std::vector<Row>& rows() {
  static const std::vector<Row> kRows = {
      {"bsp", "bsp", {}, 1},
      {"ssp, staleness 1", "ssp", {"consistency.staleness=1"}, kOwnPace},
      {"ssp, staleness 3", "ssp", {"consistency.staleness=3"}, kOwnPace},
      {"ssp, staleness 10", "ssp", {"consistency.staleness=10"}, kOwnPace},
      {"asp", "asp", {}, kOwnPace},
      {"drop, backup 1", "drop", {"consistency.backup=1"}},
      {"speculate", "speculate", {"consistency.after=0.5"}, kStandIn},
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
                     {"late_over_bsp", late.examples_per_s / bsp},
                     {"bound", row.bound == 0 ? Json() : Json(row.bound)}});
  }
  const Json figures = {{"step_ms", 1e3 * step}, {"late_steps", kLate}, {"models", table}};
  if (command.json) {
    out << figures.dump(1) << "\n";
    return 0;
  }
  fmt::print(out, "{:<20}{:>26}{:>36}\n{:<20}{:>14}{:>12}{:>14}{:>12}{:>10}{:>8}\n", "",
             "undisturbed", "a worker late in each step", "", "examples/s", "loss", "examples/s",
             "loss", "to bsp", "bound");
  for (const Json& row : table) {
    const std::string bound =
        row["bound"].is_null() ? "-" : fmt::format("{:.2f}", row["bound"].get<double>());
    fmt::print(out, "{:<20}{:>14.0f}{:>12.4f}{:>14.0f}{:>12.4f}{:>10.2f}{:>8}\n",
               row["model"].get<std::string>(), row["quiet_examples_per_s"].get<double>(),
               row["quiet_loss"].get<double>(), row["late_examples_per_s"].get<double>(),
               row["late_loss"].get<double>(), row["late_over_bsp"].get<double>(), bound);
  }
  return 0;
}

}  // namespace sheaf::launcher
