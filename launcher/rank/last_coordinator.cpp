#include "launcher/rank/last_coordinator.h"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <utility>

#include "common/base/error.h"
#include "launcher/run/report.h"
#include "launcher/run/resume.h"
#include "launcher/run/run_json.h"
#include "launcher/supervision/orphans.h"

namespace sheaf::launcher {
namespace {

void say(std::string_view text) { std::cerr << "sheaf: " << text << "\n" << std::flush; }

RunConfig sound_config(const std::filesystem::path& run) {
  const std::string dir = "run.dir=" + run.string();
  RunConfig config = RunConfig::load(run / "config.toml", std::span(&dir, 1));
  config.require_sound();
  return config;
}

}  // namespace

cluster::ControlLink::Search::Found look_for_coordinator(const std::filesystem::path& run,
                                                         const wire::JobKey& key) {
  std::ifstream file(run / "control.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  try {
    const ControlFile control = parse_control(text, "control.json");
    if (control.key_hex != key.hex()) return {{}, true};
    return {net::Endpoint{control.address, control.port}, false};
  } catch (const Error&) {
    return {};  // this host does not see it, or not now
  }
}

std::unique_ptr<LastCoordinator> LastCoordinator::begin(const std::filesystem::path& run,
                                                        const wire::JobKey& key,
                                                        const std::string& address) noexcept {
  try {
    return std::unique_ptr<LastCoordinator>(new LastCoordinator(run, key, address));
  } catch (...) {
    say(fmt::format("nobody has taken the job over, and it cannot be ended from here: {}",
                    describe(std::current_exception()).second));
    return nullptr;
  }
}

LastCoordinator::LastCoordinator(const std::filesystem::path& run, const wire::JobKey& key,
                                 const std::string& address)
    : lock_(run),
      config_(sound_config(run)),
      record_(config_, {ProgressStyle{}, [](std::string_view text) { std::cerr << text; }},
              JobRecord::Attached{}) {
  const Orphans orphans = find_orphans(run);
  Coordinator::Options options = coordinator_options(
      config_, key, address, {config_.network().port_low, config_.network().port_high});
  options.takeover = {.limit = std::max<Duration>(options.dead, std::chrono::seconds(5)),
                      .members = orphans.members,
                      .gone = orphans.gone,
                      .ends = true};
  options.incarnation = orphans.incarnation;
  options.resumed = newest_manifest(run, say);
  coordinator_ = std::make_unique<Coordinator>(std::move(options), record_);
  record_.write_control(coordinator_->endpoint(), key, orphans.mpirun);
  coordinator_->start();
  say("nobody has taken the job over: it finishes its step, saves it and ends");
}

int LastCoordinator::close(Duration limit) {
  const auto outcome = coordinator_->wait(limit);
  coordinator_.reset();  // the record is ours from here on
  Coordinator::Outcome ended = outcome.value_or(std::nullopt);
  constexpr int kPreempted = static_cast<int>(Fault::preempted);
  if (!outcome || (ended && ended->fault == kPreempted)) ended.reset();
  const bool done = outcome && !*outcome && record_.all_steps();
  const bool lost = ended && ended->fault == static_cast<int>(Fault::network);
  const int code = done              ? 0
                   : ended && !lost  ? ended->fault
                   : record_.saved() ? kPreempted
                                     : static_cast<int>(Fault::network);
  return record_.close(ended, code).exit;
}

}  // namespace sheaf::launcher
