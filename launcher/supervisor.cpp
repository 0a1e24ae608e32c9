#include "launcher/supervisor.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>

#include "common/base/error.h"
#include "launcher/attempt.h"
#include "launcher/mpirun_command.h"
#include "launcher/rank.h"
#include "launcher/report.h"
#include "launcher/restarts.h"
#include "launcher/resume.h"
#include "launcher/scratch_folder.h"
#include "launcher/signals.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

Placement placement_of(const RunConfig& config) {
  return find_placement(config.launch().hostfile, config.launch().mpirun_args,
                        [](const char* name) { return std::getenv(name); });
}

MpirunCommand plan_launch(const RunConfig& config, const TrainCommand& command) {
  MpirunRequest request;
  const char* path = std::getenv("PATH");
  request.mpirun = find_mpirun(path == nullptr ? "" : path);
  request.open_mpi_major =
      open_mpi_major(output_of({request.mpirun.string(), "--version"}, std::chrono::seconds(20)));
  request.ranks = config.run().servers + config.run().workers;
  request.root = ::geteuid() == 0;
  request.placement = placement_of(config);
  request.hostfile = config.launch().hostfile;
  if (config.network().interface != "auto") request.interface = config.network().interface;
  request.mpirun_args = config.launch().mpirun_args;
  request.forwarded = blas_variables(environ);
  // By hand nobody sets these: rank 0 is the coordinator then.
  if (!command.print_launch) {
    request.forwarded.insert(request.forwarded.end(),
                             {kCoordinatorVariable, kKeyVariable, kIncarnationVariable});
  }
  request.program = fs::read_symlink("/proc/self/exe");
  request.job_file = fs::absolute(command.job.file);
  request.overrides = command.job.overrides;
  return mpirun_command(request);
}

void print_plan(const RunConfig& config, const MpirunCommand& launch) {
  const RunSection& run = config.run();
  std::cout << fmt::format("{} servers, {} workers, {} partitions; run directory {}\n", run.servers,
                           run.workers, run.partitions, run.dir.string());
  for (const MpirunFlag& flag : launch.added) {
    std::cout << fmt::format("  {}: {}\n", shell_line(flag.words), flag.why);
  }
  std::cout << shell_line(launch.argv) << "\n";
}

// Watches one job through as many starts as it takes: its attempts, and the signals sent to us.
class Supervision {
 public:
  Supervision(RunConfig config, TrainCommand command, MpirunCommand launch, std::string address,
              std::optional<checkpoint::Manifest> resumed)
      : config_(std::move(config)),
        command_(std::move(command)),
        launch_(std::move(launch)),
        address_(std::move(address)),
        resumed_(std::move(resumed)),
        record_(config_,
                {style_of(STDERR_FILENO),
                 [](std::string_view text) { std::cerr << text << std::flush; }},
                resumed_ ? std::optional(resumed_->step) : std::nullopt),
        restarts_(config_.recovery().restarts) {}

  int run(Signals& signals) {
    Coordinator::Outcome outcome;
    do {
      outcome = attempt(signals);
    } while (outcome ? goes_on(*outcome, signals) : changes_size());
    return report(ended_ ? ended_ : outcome);
  }

 private:
  Coordinator::Outcome attempt(Signals& signals) {
    try {
      scratch_.make();
      attempt_ = std::make_unique<Attempt>(Attempt::Options{.config = config_,
                                                            .launch = launch_,
                                                            .record = record_,
                                                            .scratch = scratch_,
                                                            .address = address_,
                                                            .resumed = resumed_,
                                                            .incarnation = incarnation_++});
    } catch (const Error& error) {
      return wire::Failure{
          {Role::coordinator, 0}, static_cast<int>(error.fault()), "starting", error.message()};
    }
    std::optional<Coordinator::Outcome> outcome;
    while (!outcome && !at_once_) {
      wait_for_something(signals, milliseconds(50));
      take_signals(signals);
      outcome = attempt_->look();
    }
    noticed_ = std::chrono::steady_clock::now();
    began_ = began_ || attempt_->began();
    scaled_to_ = attempt_->scaled_to();
    const Coordinator::Outcome ended = attempt_->end(std::move(outcome));
    attempt_.reset();  // the record is ours from here on
    return ended;
  }

  void wait_for_something(Signals& signals, milliseconds limit) {
    std::array<pollfd, 2> events{
        {{signals.fd(), POLLIN, 0}, {attempt_ ? attempt_->pidfd() : -1, POLLIN, 0}}};
    ::poll(events.data(), events.size(), static_cast<int>(limit.count()));
  }

  void take_signals(Signals& signals) {
    while (const auto number = signals.take()) {
      if (*number == SIGCHLD) continue;
      if (asked_to_end_ == 0) {
        asked_to_end_ = *number;
        if (!attempt_) continue;  // between two of them
        attempt_->drain();
        std::cerr << "\nsheaf: finishing the step and saving it; Ctrl-C "
                  << (*number == SIGINT ? "again stops" : "stops") << " at once\n";
      } else if (*number == SIGINT && attempt_) {
        at_once_ = true;
        attempt_->abort({{Role::coordinator, 0},
                         static_cast<int>(Fault::interrupted),
                         "draining",
                         "interrupted a second time"});
      }
    }
  }

  // Whether the job is to be started again: it had begun and has lost a process, there is something
  // to go on from, and nobody has asked it to end.
  bool goes_on(const wire::Failure& failure, Signals& signals) {
    const bool lost = failure.fault == static_cast<int>(Fault::network);
    if (!lost || !began_ || asked_to_end_ != 0 || config_.recovery().restarts == 0) return false;
    const auto say = [this](std::string_view text) { record_.note(text); };
    try {
      resumed_ = newest_checkpoint(config_.run().dir, say);
    } catch (const Error& error) {
      say(fmt::format("warning: cannot go on: {}", error.message()));
      return false;
    }
    if (!resumed_ && record_.failed_checkpoints() != 0) {
      say("warning: no checkpoint could be written: the job does not start over by itself");
      return false;
    }
    const Step from = resumed_ ? resumed_->step : 0;
    const auto pause = restarts_.next(resumed_ ? std::optional(from) : std::nullopt);
    if (!pause) {
      say(
          fmt::format("warning: started again {} times in a row without a newer checkpoint than "
                      "that of step {}: giving up (recovery.restarts)",
                      restarts_.in_a_row(), from));
      return false;
    }
    const std::string reason = failure.text.substr(0, failure.text.find('\n'));
    say(fmt::format("warning: {}: {}; goes on from step {}{}", failure.phase, reason, from,
                    *pause > Duration{0} ? fmt::format(" in {:.0f} s", seconds(*pause)) : ""));
    record_.go_back(from, noticed_);
    return waits(*pause, signals);
  }

  // Whether the job has stopped only to go on with another number of workers.
  bool changes_size() {
    if (!scaled_to_ || record_.all_steps() || asked_to_end_ != 0) return false;
    // The partitions stay what they were, whatever said how many.
    for (const std::string& word : {fmt::format("run.workers={}", *scaled_to_),
                                    fmt::format("run.partitions={}", config_.run().partitions),
                                    "run.dir=" + config_.run().dir.string()}) {
      command_.job.overrides.push_back(word);
    }
    const auto say = [this](std::string_view text) { record_.note(text); };
    try {
      RunConfig changed = RunConfig::load(command_.job.file, command_.job.overrides);
      changed.require_sound();
      resumed_ = newest_checkpoint(config_.run().dir, say);
      config_ = std::move(changed);
      launch_ = plan_launch(config_, command_);
      record_.change_size(resumed_ ? resumed_->step : 0);
    } catch (const Error& error) {
      ended_ = wire::Failure{{Role::coordinator, 0},
                             static_cast<int>(error.fault()),
                             "changing the number of workers",
                             error.message()};
      return false;
    }
    say(fmt::format("goes on from step {} with {} workers", resumed_ ? resumed_->step : 0,
                    *scaled_to_));
    return true;
  }

  // False if somebody asks the job to end meanwhile.
  bool waits(Duration pause, Signals& signals) {
    const TimePoint end = std::chrono::steady_clock::now() + pause;
    while (true) {
      take_signals(signals);
      if (asked_to_end_ != 0) {
        ended_ = wire::Failure{{Role::coordinator, 0},
                               static_cast<int>(Fault::interrupted),
                               "waiting to go on",
                               "interrupted between two starts"};
        return false;
      }
      const auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
      if (left <= milliseconds(0)) return true;
      wait_for_something(signals, left);
    }
  }

  // Asked to end, a job may be done all the same; else it is preempted if it can go on later.
  int code_of(const Coordinator::Outcome& outcome) const {
    const int code = outcome ? outcome->fault : 0;
    const bool as_asked = !outcome || code == static_cast<int>(Fault::interrupted);
    if (asked_to_end_ == 0 || !as_asked || (!outcome && record_.all_steps())) return code;
    const bool saved = outcome ? resumed_ && !at_once_ : record_.saved_at_end();
    return saved ? static_cast<int>(Fault::preempted) : 128 + asked_to_end_;
  }

  int report(const Coordinator::Outcome& outcome) {
    const RunResult& result = record_.close(outcome, code_of(outcome));
    if (result.error) {
      std::cerr << failure_report(result, record_.path()) << std::flush;
    } else {
      std::cout << closing_report(result, record_.path());
    }
    std::cout << record_.path().string() << std::endl;
    return result.exit;
  }

  RunConfig config_;  // of the next attempt, as what follows
  TrainCommand command_;
  MpirunCommand launch_;
  const std::string address_;
  std::optional<checkpoint::Manifest> resumed_;  // where it goes on from
  ScratchFolder scratch_;  // first, since it may fail and the record is then not begun
  JobRecord record_;
  Restarts restarts_;
  std::unique_ptr<Attempt> attempt_;
  std::uint32_t incarnation_ = 0;           // of the next attempt
  bool began_ = false;                      // all ranks have been there at least once
  TimePoint noticed_{};                     // that the last attempt had ended
  std::optional<std::uint32_t> scaled_to_;  // what it was asked for
  int asked_to_end_ = 0;                    // the signal
  bool at_once_ = false;
  Coordinator::Outcome ended_;  // between two attempts
};

}  // namespace

int train(const TrainCommand& command) {
  RunConfig config = RunConfig::load(command.job.file, command.job.overrides);
  const std::vector<std::string> notes = config.require_sound();
  const auto say = [](std::string_view text) { std::cerr << "sheaf: " << text << "\n"; };
  std::optional<checkpoint::Manifest> resumed;
  if (command.resume) {
    resumed = choose_checkpoint(config.run().dir, command.resume->step, say);
    require_same_job(config, *resumed);
  }
  const MpirunCommand launch = plan_launch(config, command);
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
  const std::string address =
      net::address_of_interface(config.network().interface, placement_of(config).one_host, &note);
  if (!note.empty()) std::cerr << "note: " << note << "\n";
  Signals signals;  // before any thread starts
  Supervision supervision(std::move(config), command, launch, address, resumed);
  if (resumed) say(fmt::format("goes on from step {}", resumed->step));
  return supervision.run(signals);
}

}  // namespace sheaf::launcher
