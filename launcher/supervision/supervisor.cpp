#include "launcher/supervision/supervisor.h"

#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "common/base/error.h"
#include "launcher/run/resume.h"
#include "launcher/supervision/launch_plan.h"
#include "launcher/supervision/orphans.h"
#include "launcher/supervision/supervision.h"

namespace sheaf::launcher {
namespace {

void print_plan(const RunConfig& config, const MpirunCommand& launch) {
  const RunSection& run = config.run();
  std::cout << fmt::format("{} servers, {} workers, {} partitions; run directory {}\n", run.servers,
                           run.workers, run.partitions, run.dir.string());
  for (const MpirunFlag& flag : launch.added) {
    std::cout << fmt::format("  {}: {}\n", shell_line(flag.words), flag.why);
  }
  std::cout << shell_line(launch.argv) << "\n";
}

int attach(const TrainCommand& command) {
  const std::filesystem::path& run = *command.attach;
  require_running(run);
  RunConfig config = RunConfig::load(command.job.file, command.job.overrides);
  config.require_sound();
  const auto say = [](std::string_view text) { std::cerr << "sheaf: " << text << "\n"; };
  std::optional<RunLock> lock(run);
  Orphans orphans = find_orphans(run);
  auto newest = newest_manifest(run, say);
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  MpirunCommand launch = plan_launch(config, command.job, program, Coordinated::by_train);
  std::string address =
      net::address_of_interface(config.network().interface, placement_of(config).one_host);
  Signals signals;  // before any thread starts
  Supervision supervision({.config = std::move(config),
                           .launch = std::move(launch),
                           .program = program,
                           .address = std::move(address),
                           .resumed = std::move(newest),
                           .lock = std::move(lock),
                           .orphans = std::move(orphans)},
                          signals);
  return supervision.run();
}

}  // namespace

int train(const TrainCommand& command) {
  if (command.attach) return attach(command);
  RunConfig config = RunConfig::load(command.job.file, command.job.overrides);
  const std::vector<std::string> notes = config.require_sound();
  const auto say = [](std::string_view text) { std::cerr << "sheaf: " << text << "\n"; };
  const bool starts = !command.print_launch && !command.dry_run;
  std::optional<RunLock> lock;
  std::optional<checkpoint::Manifest> resumed;
  if (command.resume) {
    if (starts) lock.emplace(config.run().dir);  // what is chosen has to stay what it is
    resumed = choose_checkpoint(config.run().dir, command.resume->step, say);
    require_same_job(config, *resumed);
  }
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  MpirunCommand launch =
      plan_launch(config, command.job, program,
                  command.print_launch ? Coordinated::by_hand : Coordinated::by_train);
  if (command.print_launch) {
    std::cout << shell_line(launch.argv) << std::endl;
    return 0;
  }
  for (const std::string& note : notes) std::cerr << "note: " << note << "\n";
  if (command.dry_run) {
    print_plan(config, launch);
    return 0;
  }
  std::string note;
  std::string address =
      net::address_of_interface(config.network().interface, placement_of(config).one_host, &note);
  if (!note.empty()) std::cerr << "note: " << note << "\n";
  Signals signals;  // before any thread starts
  const auto from = resumed ? std::optional(resumed->step) : std::nullopt;
  Supervision supervision({.config = std::move(config),
                           .launch = std::move(launch),
                           .program = program,
                           .address = std::move(address),
                           .resumed = std::move(resumed),
                           .lock = std::move(lock)},
                          signals);
  if (from) say(fmt::format("goes on from step {}", *from));
  return supervision.run();
}

}  // namespace sheaf::launcher
