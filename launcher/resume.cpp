#include "launcher/resume.h"

#include <array>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/posix_disk.h"
#include "common/checkpoint/store.h"
#include "launcher/build_identity.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;

// What decides which examples a step has, and what its state means.
constexpr std::array<std::string_view, 6> kDecisive = {"run.partitions",   "run.seed",
                                                       "data.batch",       "optimizer.kind",
                                                       "consistency.kind", "consistency.steps"};

std::string damage_text(const checkpoint::Checkpoint& refused) {
  return fmt::format("the checkpoint of step {} is damaged: {}", refused.step,
                     refused.damage.front().text());
}

}  // namespace

checkpoint::Manifest manifest_of(const RunConfig& config) {
  checkpoint::Manifest manifest;
  manifest.job = config.run().name;
  manifest.state_per_parameter =
      static_cast<std::uint32_t>(config.make_optimizer()->state_per_parameter());
  manifest.about = {{"run.partitions", std::to_string(config.run().partitions)},
                    {"run.seed", std::to_string(config.run().seed)},
                    {"data.batch", std::to_string(config.data().batch)},
                    {"consistency.kind", config.consistency()},
                    {"consistency.steps", std::to_string(config.local_steps())},
                    {"optimizer.kind", config.optimizer().kind},
                    {"config_sha256", config.config_sha256()},
                    {"build", build_text()}};
  return manifest;
}

std::optional<checkpoint::Manifest> newest_checkpoint(
    const fs::path& run, const std::function<void(std::string_view)>& say) {
  checkpoint::PosixDisk disk;
  const checkpoint::Store store(disk, run / "checkpoints");
  auto choice = store.newest_verified();
  for (const auto& refused : choice.refused) say("warning: " + damage_text(refused));
  if (!choice.manifest && !choice.refused.empty()) {
    fail(Fault::checkpoint, "{}: every checkpoint is damaged; sheaf verify says where",
         store.path().string());
  }
  return std::move(choice.manifest);
}

checkpoint::Manifest choose_checkpoint(const fs::path& run, std::optional<Step> step,
                                       const std::function<void(std::string_view)>& say) {
  if (!step) {
    if (auto newest = newest_checkpoint(run, say)) return std::move(*newest);
    fail(Fault::checkpoint, "{}: there is no checkpoint; start the job again with sheaf train",
         (run / "checkpoints").string());
  }
  checkpoint::PosixDisk disk;
  const checkpoint::Store store(disk, run / "checkpoints");
  std::string known;
  for (checkpoint::Checkpoint& found : store.list()) {
    if (found.step != *step) {
      known += fmt::format("{}{}", known.empty() ? "" : ", ", found.step);
      continue;
    }
    if (!store.verify(found)) fail(Fault::checkpoint, "{}", damage_text(found));
    return std::move(*found.manifest);
  }
  fail(Fault::checkpoint, "{}: there is no checkpoint of step {}; there are those of steps {}",
       store.path().string(), *step, known.empty() ? "none" : known);
}

void require_same_job(const RunConfig& config, const checkpoint::Manifest& manifest) {
  const checkpoint::Manifest ours = manifest_of(config);
  std::string faults;
  for (const std::string_view key : kDecisive) {
    const auto theirs = manifest.about.find(std::string(key));
    const std::string& found = ours.about.at(std::string(key));
    if (theirs == manifest.about.end() || theirs->second == found) continue;
    faults += fmt::format("{}{}: found {}, expected {} as in the checkpoint of step {}",
                          faults.empty() ? "" : "\n", key, found, theirs->second, manifest.step);
  }
  if (!faults.empty()) fail(Fault::config, "{}", faults);
}

void remove_newer(const fs::path& checkpoints, Step step,
                  const std::function<void(std::string_view)>& say) {
  checkpoint::PosixDisk disk;
  checkpoint::Store store(disk, checkpoints);
  for (const checkpoint::Checkpoint& found : store.list()) {
    if (found.step <= step) continue;
    say(fmt::format("removes the checkpoint of step {}: the job goes on from step {}", found.step,
                    step));
    store.remove(found.step);
  }
}

}  // namespace sheaf::launcher
