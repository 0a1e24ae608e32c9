#include "launcher/run/resume.h"

#include <array>
#include <optional>
#include <span>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/posix_disk.h"
#include "common/checkpoint/store.h"
#include "launcher/system/build_identity.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;

// What decides which examples a step has, and what its state means.
constexpr std::array<std::string_view, 7> kDecisive = {
    "run.partitions",           "run.seed",         "data.batch",
    "optimizer.kind",           "consistency.kind", "consistency.steps",
    "compression.pull.feedback"};
// With privacy, also which examples are trained on, and whose they are: an example or user would be
// in other steps than the ledger says.
constexpr std::array<std::string_view, 3> kDecisiveInPrivate = {"data.validation", "data.test",
                                                                "data.users"};
// Where steps share noise: what of it later steps take back. Chunks name it.
constexpr std::array<std::string_view, 5> kDecisiveWhereShared = {
    "network.chunk_kib", "privacy.kind", "privacy.bands", "privacy.clip", "privacy.noise"};

std::string damage_text(const checkpoint::Checkpoint& refused) {
  return fmt::format("the checkpoint of step {} is damaged: {}", refused.step,
                     refused.damage.front().text());
}

std::string real_or_none(const std::optional<double>& value) {
  return value ? fmt::format("{}", *value) : "none";
}

constexpr std::string_view kPushFeedback = "compression.push.feedback";
constexpr std::string_view kEstimates = "ef21";  // what begins with it

// Momentum is part of the word where what is kept has no other meaning without.
std::string push_feedback(const RunConfig& config) {
  if (const auto momentum = config.estimates()) {
    return std::string(kEstimates) + (*momentum > 0 ? " with momentum" : "");
  }
  return config.error_feedback() ? "ef" : "none";
}

bool is_estimates(std::string_view feedback) { return feedback.starts_with(kEstimates); }

// Servers have the sum of what workers have: neither goes on without the other.
std::string fault_of_estimates(const RunConfig& config, const checkpoint::Manifest& manifest) {
  const auto known = manifest.about.find(std::string(kPushFeedback));
  const std::string theirs = known == manifest.about.end() ? "none" : known->second;
  const std::string ours = push_feedback(config);
  if (!is_estimates(theirs) && !is_estimates(ours)) return {};
  if (theirs != ours) {
    return fmt::format("{}: found {}, expected {} as in the checkpoint of step {}", kPushFeedback,
                       ours, theirs, manifest.step);
  }
  if (manifest.step == 0 || !manifest.residuals.empty()) return {};
  return fmt::format(
      "the checkpoint of step {}: found nothing of what pushes have told, expected "
      "it with {} = \"{}\"; go on from another one",
      manifest.step, kPushFeedback, kEstimates);
}

}  // namespace

checkpoint::Manifest manifest_of(const RunConfig& config) {
  checkpoint::Manifest manifest;
  manifest.job = config.run().name;
  manifest.state_per_parameter = static_cast<std::uint32_t>(
      config.make_server_optimizer()->state_per_parameter() + (config.pull_feedback() ? 1 : 0));
  const auto mechanism = config.make_mechanism();
  std::optional<double> clip;
  if (mechanism->clip()) clip = mechanism->clip()->norm;
  manifest.about = {{"run.partitions", std::to_string(config.run().partitions)},
                    {"run.seed", std::to_string(config.run().seed)},
                    {"data.batch", std::to_string(config.data().batch)},
                    {"data.validation", fmt::format("{}", config.data().validation)},
                    {"data.test", fmt::format("{}", config.data().test)},
                    {"data.users", config.data().users.empty() ? "none" : config.data().users},
                    {"consistency.kind", config.consistency()},
                    {"consistency.steps", std::to_string(config.local_steps())},
                    {"network.chunk_kib", std::to_string(config.network().chunk_bytes / 1024)},
                    {"optimizer.kind", config.optimizer().kind},
                    {"compression.push.kind", config.push_kind()},
                    {"compression.pull.kind", config.pull_kind()},
                    {"compression.pull.feedback", config.pull_feedback() ? "ef21p" : "none"},
                    {std::string(kPushFeedback), push_feedback(config)},
                    {"privacy.kind", config.privacy().kind},
                    {"privacy.bands", std::to_string(mechanism->bands())},
                    {"privacy.clip", real_or_none(clip)},
                    {"privacy.noise", real_or_none(config.privacy().noise)},
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

std::optional<checkpoint::Manifest> newest_manifest(
    const fs::path& run, const std::function<void(std::string_view)>& say) {
  checkpoint::PosixDisk disk;
  for (checkpoint::Checkpoint& found : checkpoint::Store(disk, run / "checkpoints").list()) {
    if (found.manifest) return std::move(found.manifest);
    say("warning: " + damage_text(found));
  }
  return std::nullopt;
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
  const auto compare = [&](std::span<const std::string_view> keys) {
    for (const std::string_view key : keys) {
      const auto theirs = manifest.about.find(std::string(key));
      const std::string& found = ours.about.at(std::string(key));
      if (theirs == manifest.about.end() || theirs->second == found) continue;
      faults += fmt::format("{}{}: found {}, expected {} as in the checkpoint of step {}",
                            faults.empty() ? "" : "\n", key, found, theirs->second, manifest.step);
    }
  };
  compare(kDecisive);
  if (const std::string fault = fault_of_estimates(config, manifest); !fault.empty()) {
    faults += (faults.empty() ? "" : "\n") + fault;
  }
  if (config.privacy().on) compare(kDecisiveInPrivate);
  const auto bands = manifest.about.find("privacy.bands");
  const bool shared = bands != manifest.about.end() && bands->second != "0";
  if (shared || config.make_mechanism()->bands() != 0) compare(kDecisiveWhereShared);
  if (!faults.empty()) fail(Fault::config, "{}", faults);
}

bool lacks_residuals(const checkpoint::Manifest& manifest) {
  const auto feedback = manifest.about.find(std::string(kPushFeedback));
  const bool had_none = feedback != manifest.about.end() && feedback->second == "none";
  return manifest.step != 0 && manifest.residuals.empty() && !had_none;
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
