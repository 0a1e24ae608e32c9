#include "launcher/audit/audit.h"

#include <fmt/ostream.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/stopwatch.h"
#include "launcher/audit/canary_run.h"

namespace sheaf::launcher {
namespace {

// An honest job is accused with a chance of at most 1 - that, by each of the two bounds.
constexpr double kConfidence = 0.999;

}  // namespace

int audit_job(const AuditCommand& command, std::ostream& out, std::ostream& err) {
  RunConfig config = RunConfig::load(command.job.file, command.job.overrides);
  config.require_sound();
  const double begin = clocks().wall;
  const CanaryRun run = run_with_canaries(config, command.canaries);
  const privacy::AuditBounds bounds = privacy::audit_bounds(run.scores, run.claim, run.terms.delta,
                                                            run.terms.adjacency, kConfidence);

  nlohmann::ordered_json figures = {
      {"lower", bounds.lower},
      {"upper", bounds.upper},
      {"confidence", kConfidence},
      {"canaries", run.scores.size()},
      {"canaries_in", std::ranges::count(run.scores, true, &privacy::CanaryScore::in)},
      {"lower_one_run", bounds.lower_one_run},
      {"delta", run.terms.delta},
      {"adjacency", to_string(run.terms.adjacency)},
      {"sampling", to_string(run.terms.sampling)},
      {"sampling_rate", run.terms.sampling_rate},
      {"noise", run.terms.noise},
      {"where", to_string(run.terms.where)},
      {"steps", run.steps},
      {run.terms.unit == privacy::Unit::user ? "users" : "examples", run.terms.units()},
      {"seconds", clocks().wall - begin}};
  if (command.json) {
    fmt::print(out, "{}\n", figures.dump());
  } else {
    for (const auto& [name, value] : figures.items()) {
      fmt::print(out, "{}\t{}\n", name,
                 value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  const double lower = std::max(bounds.lower, bounds.lower_one_run);
  if (lower <= bounds.upper) return 0;
  fmt::print(
      err,
      "audit: found an epsilon of at least {:.4f} at delta {}, expected at most {:.4f}: what "
      "is released protects less than it is accounted for\n",
      lower, run.terms.delta, bounds.upper);
  return 1;
}

}  // namespace sheaf::launcher
