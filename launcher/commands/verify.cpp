#include "launcher/commands/verify.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/checkpoint/posix_disk.h"
#include "common/checkpoint/store.h"
#include "launcher/config/run_config.h"
#include "launcher/run/trace_check.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using checkpoint::Checkpoint;
using checkpoint::Damage;

struct Findings {
  std::vector<Checkpoint> checkpoints;  // newest first
  std::vector<std::string> leftovers;
  std::vector<CheckedTrace> traces;
  std::string cut;  // a trace of a job that ended as asked; empty: none
  bool damaged = false;
  int exit() const {
    if (damaged || checkpoints.empty()) return static_cast<int>(Fault::checkpoint);
    const auto is_broken = [](const CheckedTrace& t) { return !t.findings.problem.empty(); };
    const bool broken = !cut.empty() || std::ranges::any_of(traces, is_broken);
    return broken ? static_cast<int>(Fault::internal) : 0;
  }
};

// The steps of a job that ended as asked, if its servers wrote traces to the end.
std::optional<Step> traced_steps(const fs::path& run) {
  std::ifstream file(run / "result.json");
  const Json result = Json::parse(file, nullptr, false);
  if (!result.is_object() || !result.contains("exit") || !result.contains("steps")) return {};
  const bool as_asked = result["exit"] == 0 || result["exit"] == static_cast<int>(Fault::preempted);
  if (!as_asked || result.contains("error")) return {};
  try {
    if (!RunConfig::load(run / "config.toml", {}).traces()) return {};
  } catch (const Error&) {
    return {};
  }
  return result["steps"].get<Step>();
}

Findings examine(const fs::path& run) {
  const fs::path checkpoints = run / "checkpoints";
  checkpoint::PosixDisk disk;
  const checkpoint::Store store(disk, checkpoints);
  Findings findings;
  for (Checkpoint& found : store.list()) {
    // One that a running job has removed meanwhile is not damaged.
    if (!store.verify(found) && !store.has(found.step)) continue;
    findings.damaged = findings.damaged || !found.damage.empty();
    findings.checkpoints.push_back(std::move(found));
  }
  findings.leftovers = store.leftovers();
  findings.traces = check_traces(run / "trace");
  if (const auto steps = traced_steps(run)) findings.cut = check_ends(findings.traces, *steps);
  return findings;
}

// Where the rest of it is, if it has not written everything itself.
std::string text_of_older(const checkpoint::Manifest& manifest) {
  const std::uint64_t bytes = manifest.bytes() - manifest.written_bytes();
  return bytes == 0 ? "" : fmt::format(", {} of them in files of older steps", bytes);
}

void write_text(const Findings& findings, const fs::path& checkpoints, std::ostream& out) {
  if (findings.checkpoints.empty()) {
    fmt::print(out, "no checkpoint in {}\n", checkpoints.string());
  }
  for (const Checkpoint& found : findings.checkpoints) {
    if (found.damage.empty()) {
      const std::size_t files = found.manifest->files.size();
      const std::string older = text_of_older(*found.manifest);
      fmt::print(out, "step {}: ok, {} file{}, {} bytes{}\n", found.step, files,
                 files == 1 ? "" : "s", found.manifest->bytes(), older);
    }
    for (const Damage& damage : found.damage) {
      fmt::print(out, "step {}: damaged: {}\n", found.step, damage.text());
    }
  }
  for (const std::string& name : findings.leftovers) {
    fmt::print(out, "leftover: {}: of no checkpoint; a killed job left it, or one writes it now\n",
               name);
  }
  for (const auto& [file, trace] : findings.traces) {
    if (!trace.problem.empty()) {
      fmt::print(out, "trace {}: broken: {}\n", file, trace.problem);
    } else {
      fmt::print(out,
                 "trace {}: ok, {} pushes, {} pulls, at most {} step{} ahead of the slowest{}\n",
                 file, trace.pushes, trace.pulls, trace.most_ahead,
                 trace.most_ahead == 1 ? "" : "s", trace.end ? "" : "; it has no end");
    }
  }
  if (!findings.cut.empty()) fmt::print(out, "traces: broken: {}\n", findings.cut);
}

void write_json(const Findings& findings, std::ostream& out) {
  Json checkpoints = Json::array();
  for (const Checkpoint& found : findings.checkpoints) {
    Json damages = Json::array();
    for (const Damage& damage : found.damage) {
      damages.push_back({{"file", damage.file},
                         {"block", damage.block},
                         {"expected", damage.expected},
                         {"found", damage.found}});
    }
    const auto& manifest = found.manifest;
    checkpoints.push_back({{"step", found.step},
                           {"ok", found.damage.empty()},
                           {"files", manifest ? Json(manifest->files.size()) : Json()},
                           {"bytes", manifest ? Json(manifest->bytes()) : Json()},
                           {"written_bytes", manifest ? Json(manifest->written_bytes()) : Json()},
                           {"damage", damages}});
  }
  Json traces = Json::array();
  for (const auto& [file, trace] : findings.traces) {
    traces.push_back({{"file", file},
                      {"ok", trace.problem.empty()},
                      {"pushes", trace.pushes},
                      {"pulls", trace.pulls},
                      {"most_ahead", trace.most_ahead},
                      {"ended", trace.end.has_value()},
                      {"problem", trace.problem}});
  }
  const Json object = {{"checkpoints", checkpoints},
                       {"leftovers", findings.leftovers},
                       {"traces", traces},
                       {"cut", findings.cut},
                       {"exit", findings.exit()}};
  out << object.dump(1, ' ', false, Json::error_handler_t::replace) << "\n";
}

}  // namespace

int verify_run(const VerifyCommand& command, std::ostream& out, std::ostream& err) {
  const fs::path checkpoints = command.run / "checkpoints";
  std::error_code unreadable;
  if (!fs::is_directory(checkpoints, unreadable)) {
    fmt::print(err,
               "sheaf verify: {}: found no folder checkpoints in it, expected a run directory as "
               "sheaf train makes it\n",
               command.run.string());
    return static_cast<int>(Fault::config);
  }
  const Findings findings = examine(command.run);
  if (command.json) {
    write_json(findings, out);
  } else {
    write_text(findings, checkpoints, out);
  }
  return findings.exit();
}

}  // namespace sheaf::launcher
