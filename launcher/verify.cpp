#include "launcher/verify.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/checkpoint/posix_disk.h"
#include "common/checkpoint/store.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;
using checkpoint::Checkpoint;
using checkpoint::Damage;

struct Findings {
  std::vector<Checkpoint> checkpoints;  // newest first
  std::vector<std::string> leftovers;
  bool damaged = false;
  int exit() const {
    return damaged || checkpoints.empty() ? static_cast<int>(Fault::checkpoint) : 0;
  }
};

Findings examine(const fs::path& checkpoints) {
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
  return findings;
}

void write_text(const Findings& findings, const fs::path& checkpoints, std::ostream& out) {
  if (findings.checkpoints.empty()) {
    fmt::print(out, "no checkpoint in {}\n", checkpoints.string());
  }
  for (const Checkpoint& found : findings.checkpoints) {
    if (found.damage.empty()) {
      const std::size_t files = found.manifest->files.size();
      fmt::print(out, "step {}: ok, {} file{}, {} bytes\n", found.step, files,
                 files == 1 ? "" : "s", found.manifest->bytes());
    }
    for (const Damage& damage : found.damage) {
      fmt::print(out, "step {}: damaged: {}\n", found.step, damage.text());
    }
  }
  for (const std::string& name : findings.leftovers) {
    fmt::print(out, "leftover: {}: of no checkpoint; a killed job left it, or one writes it now\n",
               name);
  }
}

void write_json(const Findings& findings, std::ostream& out) {
  using Json = nlohmann::ordered_json;
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
                           {"damage", damages}});
  }
  const Json object = {
      {"checkpoints", checkpoints}, {"leftovers", findings.leftovers}, {"exit", findings.exit()}};
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
  const Findings findings = examine(checkpoints);
  if (command.json) {
    write_json(findings, out);
  } else {
    write_text(findings, checkpoints, out);
  }
  return findings.exit();
}

}  // namespace sheaf::launcher
