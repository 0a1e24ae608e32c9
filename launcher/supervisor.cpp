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
#include "launcher/child.h"
#include "launcher/coordinator.h"
#include "launcher/file_tail.h"
#include "launcher/mpirun_command.h"
#include "launcher/process_identity.h"
#include "launcher/rank.h"
#include "launcher/report.h"
#include "launcher/resume.h"
#include "launcher/scratch_folder.h"
#include "launcher/signals.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

MpirunCommand plan_launch(const RunConfig& config, const TrainCommand& command,
                          const Placement& placement) {
  MpirunRequest request;
  const char* path = std::getenv("PATH");
  request.mpirun = find_mpirun(path == nullptr ? "" : path);
  request.open_mpi_major =
      open_mpi_major(output_of({request.mpirun.string(), "--version"}, seconds(20)));
  request.ranks = config.run().servers + config.run().workers;
  request.root = ::geteuid() == 0;
  request.placement = placement;
  request.hostfile = config.launch().hostfile;
  if (config.network().interface != "auto") request.interface = config.network().interface;
  request.mpirun_args = config.launch().mpirun_args;
  request.forwarded = blas_variables(environ);
  // By hand nobody sets these: rank 0 is the coordinator then.
  if (!command.print_launch) {
    request.forwarded.insert(request.forwarded.end(), {kCoordinatorVariable, kKeyVariable});
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

// Watches one job: mpirun's process, its output, the signals sent to us, and the coordinator.
class Supervision {
 public:
  Supervision(const RunConfig& config, std::optional<checkpoint::Manifest> resumed)
      : config_(config),
        resumed_(std::move(resumed)),
        record_(config,
                {style_of(STDERR_FILENO),
                 [](std::string_view text) { std::cerr << text << std::flush; }},
                resumed_ ? std::optional(resumed_->step) : std::nullopt) {}

  int run(const MpirunCommand& launch, const std::string& address, Signals& signals) {
    try {
      start(launch, address);
    } catch (const Error& error) {
      return report(wire::Failure{
          {Role::coordinator, 0}, static_cast<int>(error.fault()), "starting", error.message()});
    }
    return supervise(signals);
  }

 private:
  fs::path log(const char* name) const { return record_.path() / "logs" / name; }

  void start(const MpirunCommand& launch, const std::string& address) {
    const net::PortRange ports{config_.network().port_low, config_.network().port_high};
    Coordinator::Options options = coordinator_options(config_, key_, address, ports);
    options.resumed = resumed_;
    coordinator_ = std::make_unique<Coordinator>(std::move(options), record_);
    const net::Endpoint endpoint = coordinator_->endpoint();
    record_.write_control({config_.run().name, endpoint.address, endpoint.port, key_.bytes()});
    coordinator_->start();
    child_.emplace(ChildCommand{launch.argv,
                                {{kCoordinatorVariable, to_string(endpoint)},
                                 {kKeyVariable, key_.hex()},
                                 {"TMPDIR", scratch_.path().string()}},
                                log("mpirun.out"),
                                log("mpirun.err")});
    errors_.emplace(log("mpirun.err"));
  }

  int supervise(Signals& signals) {
    std::optional<Coordinator::Outcome> outcome;
    while (!outcome) {
      wait_for_something(signals);
      take_signals(signals);
      read_errors();
      watch_child();
      // MPI is finalized and never asked again: from here on, whoever is killed leaves nothing.
      if (coordinator_->began()) scratch_.remove();
      outcome = coordinator_->wait(milliseconds(0));
      if (at_once_) break;
    }
    end_ranks(outcome.has_value() && !*outcome);
    if (!outcome) outcome = coordinator_->wait(seconds(2));
    return report(outcome.value_or(std::nullopt));
  }

  void wait_for_something(Signals& signals) {
    std::array<pollfd, 2> events{{{signals.fd(), POLLIN, 0}, {child_->pidfd(), POLLIN, 0}}};
    const nfds_t count = child_->pidfd() >= 0 && !child_gone_ ? 2 : 1;
    ::poll(events.data(), count, 50);
  }

  void take_signals(Signals& signals) {
    while (const auto number = signals.take()) {
      if (*number == SIGCHLD) continue;
      if (asked_to_end_ == 0) {
        asked_to_end_ = *number;
        coordinator_->drain();
        std::cerr << "\nsheaf: finishing the step and saving it; again to stop at once\n";
      } else if (*number == SIGINT) {
        at_once_ = true;
        coordinator_->abort({{Role::coordinator, 0},
                             static_cast<int>(Fault::interrupted),
                             "draining",
                             "interrupted a second time"});
      }
    }
  }

  // What mpirun and the ranks print to stderr goes to its log; the last lines explain a failure.
  void read_errors() {
    for (std::string& line : errors_->read_lines()) {
      if (line.empty()) continue;
      last_errors_.push_back(std::move(line));
      if (last_errors_.size() > 12) last_errors_.erase(last_errors_.begin());
    }
  }

  // mpirun that ends before the job does has lost it, whatever its exit code says. The coordinator
  // may know a better reason a moment later: it is given that moment.
  void watch_child() {
    if (child_gone_ || !child_->ended()) return;
    child_gone_ = true;
    if (coordinator_->wait(seconds(1))) return;
    read_errors();
    std::string text =
        fmt::format("mpirun ended ({}) before the job did", to_string(*child_->ended()));
    for (const std::string& line : last_errors_) text += "\n  " + line;
    coordinator_->abort({{Role::coordinator, 0}, static_cast<int>(Fault::network), "", text});
  }

  // Every rank of the job is gone when this returns, also stopped ones. Those of this host are
  // killed first, by recorded identity: mpirun, asked to end a stopped rank, takes seconds. And it
  // waits in vain for a host that is lost, so it is not given long.
  void end_ranks(bool complete) {
    if (child_->wait(complete ? seconds(5) : milliseconds(500))) return;
    for (const ProcessIdentity& rank : coordinator_->local_ranks()) send_signal(rank, SIGKILL);
    if (!child_->wait(milliseconds(500))) child_->terminate(milliseconds(1000));
  }

  int report(const Coordinator::Outcome& outcome) {
    coordinator_.reset();  // the record is ours from here on
    int code = outcome ? outcome->fault : 0;
    const bool as_asked = !outcome || code == static_cast<int>(Fault::interrupted);
    // Asked to end, it may be done all the same; else it can go on from where it was saved.
    if (asked_to_end_ != 0 && as_asked && (outcome || !record_.all_steps())) {
      code = !outcome && record_.saved_at_end() ? static_cast<int>(Fault::preempted)
                                                : 128 + asked_to_end_;
    }
    const RunResult& result = record_.close(outcome, code);
    if (result.error) {
      std::cerr << failure_report(result, record_.path()) << std::flush;
    } else {
      std::cout << closing_report(result, record_.path());
    }
    std::cout << record_.path().string() << std::endl;
    return result.exit;
  }

  const RunConfig& config_;
  const std::optional<checkpoint::Manifest> resumed_;
  const wire::JobKey key_;
  ScratchFolder scratch_;  // of mpirun; first, since it may fail and the record is then not begun
  JobRecord record_;
  std::unique_ptr<Coordinator> coordinator_;
  std::optional<Child> child_;
  std::optional<FileTail> errors_;
  std::vector<std::string> last_errors_;
  int asked_to_end_ = 0;  // the signal
  bool at_once_ = false;
  bool child_gone_ = false;
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
  const Placement placement = find_placement(config.launch().hostfile, config.launch().mpirun_args,
                                             [](const char* name) { return std::getenv(name); });
  const MpirunCommand launch = plan_launch(config, command, placement);
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
      net::address_of_interface(config.network().interface, placement.one_host, &note);
  if (!note.empty()) std::cerr << "note: " << note << "\n";
  Signals signals;  // before any thread starts
  if (resumed) {
    remove_newer(config.run().dir, resumed->step, say);
    say(fmt::format("goes on from step {}", resumed->step));
  }
  return Supervision(config, std::move(resumed)).run(launch, address, signals);
}

}  // namespace sheaf::launcher
