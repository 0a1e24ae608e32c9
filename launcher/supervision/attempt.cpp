#include "launcher/supervision/attempt.h"

#include <algorithm>
#include <csignal>
#include <iterator>
#include <thread>
#include <utility>

#include "common/base/error.h"
#include "launcher/run/seat.h"
#include "launcher/supervision/launch_plan.h"
#include "launcher/system/host.h"
#include "launcher/system/process_identity.h"

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;

using Replace = std::function<void(const wire::ProcessInfo&, std::uint32_t)>;

// In a Slurm allocation mpirun reaches other hosts by steps of the job. They share its cores: else
// a replacement would wait for those of the rank beside it, and a start for what a lost host holds.
constexpr const char* kSharedSteps = "SLURM_OVERLAP";

Coordinator::Options coordinator_of(const Attempt::Options& o, const wire::JobKey& key,
                                    Replace replace) {
  const NetworkSection& network = o.config.network();
  Coordinator::Options options =
      coordinator_options(o.config, key, o.address, {network.port_low, network.port_high});
  options.resumed = o.resumed;
  options.incarnation = o.incarnation;
  options.scalable = true;
  options.budget = &o.restarts;
  options.hosts = &o.hosts;
  if (o.orphans) {
    // Who lives asks several times a second; who is slow is not to be replaced for it.
    options.takeover = {.limit = std::max<Duration>(o.config.timeouts().dead, milliseconds(5000)),
                        .members = o.orphans->members,
                        .gone = o.orphans->gone};
    options.incarnation = o.orphans->incarnation;
  }
  options.snapshots = o.config.keeps_snapshots();
  options.replicas = o.config.keeps_replicas();
  // Another worker might release a step that is open once more with other noise, and nobody would
  // charge it: a private job starts again as a whole, and its ledger knows what is taken again.
  const bool replaces = o.config.recovery().restarts != 0 && !o.config.privacy().on;
  if (replaces) options.replace = std::move(replace);
  return options;
}

}  // namespace

Attempt::Attempt(const Options& options)
    : key_(options.orphans ? options.orphans->key : wire::JobKey()),
      config_(options.config),
      program_(options.program),
      scratch_(options.scratch),
      coordinator_(coordinator_of(options, key_,
                                  [this](const wire::ProcessInfo& lost, std::uint32_t incarnation) {
                                    const std::lock_guard lock(mutex_);
                                    wanted_.push_back({lost, incarnation, nullptr});
                                  }),
                   options.record),
      logs_(options.record.path() / "logs"),
      errors_(log("mpirun.err")) {
  const net::Endpoint endpoint = coordinator_.endpoint();
  if (options.orphans) mpirun_ = options.orphans->mpirun;
  options.record.write_control(endpoint, key_, mpirun_);
  while (!errors_.read_lines().empty()) {  // what an attempt before has left explains nothing here
  }
  coordinator_.start();
  if (options.orphans) return;
  child_.emplace(ChildCommand{options.launch.argv,
                              {{kCoordinatorVariable, to_string(endpoint)},
                               {kKeyVariable, key_.hex()},
                               {kIncarnationVariable, std::to_string(options.incarnation)},
                               {"TMPDIR", scratch_.path().string()},
                               {kSharedSteps, "1"}},
                              log("mpirun.out"),
                              log("mpirun.err")});
  if (const auto mpirun = identify(child_->pid())) {
    options.record.write_control(endpoint, key_, *mpirun);
  }
}

Attempt::~Attempt() = default;

std::filesystem::path Attempt::log(const char* name) const { return logs_ / name; }

std::optional<Coordinator::Outcome> Attempt::look() {
  read_errors();
  watch_child();
  watch_successors();
  // MPI is finalized and never asked again: from here on, whoever is killed leaves nothing.
  if (began()) scratch_.remove();
  return coordinator_.wait(milliseconds(0));
}

// What mpirun and the ranks print to stderr goes to its log; the last lines explain a failure.
void Attempt::read_errors() {
  for (std::string& line : errors_.read_lines()) {
    if (line.empty()) continue;
    last_errors_.push_back(std::move(line));
    if (last_errors_.size() > 12) last_errors_.erase(last_errors_.begin());
  }
}

// mpirun that ends before the job does has lost it, whatever its exit code says, unless every rank
// that it started has been replaced. The coordinator may know that, or a better reason, a moment
// later: it is given that moment.
void Attempt::watch_child() {
  constexpr Duration kMoment = std::chrono::seconds(1);
  // Of another supervisor's mpirun nobody learns how it ended; the ranks have leases.
  if (!child_ || child_missed_ || !child_->ended()) return;
  const auto now = std::chrono::steady_clock::now();
  if (!std::exchange(child_gone_, true)) child_gone_at_ = now;
  if (now - child_gone_at_ < kMoment || coordinator_.all_replaced()) return;
  child_missed_ = true;
  coordinator_.abort({{Role::coordinator, 0},
                      static_cast<int>(Fault::network),
                      "",
                      fmt::format("mpirun ended ({}) before the job did{}",
                                  to_string(*child_->ended()), last_errors())});
}

std::string Attempt::last_errors() {
  read_errors();
  std::string text;
  for (const std::string& line : last_errors_) text += "\n  " + line;
  return text;
}

void Attempt::watch_successors() {
  {
    const std::lock_guard lock(mutex_);
    std::ranges::move(wanted_, std::back_inserter(successors_));
    wanted_.clear();
  }
  for (Successor& successor : successors_) {
    if (successor.gone) continue;
    const ProcessId process = successor.lost.process;
    try {
      if (!successor.child) start(successor);
      const auto ended = successor.child->ended();
      if (!ended) continue;
      successor.gone = true;
      coordinator_.on_start_failed(
          process, successor.incarnation,
          fmt::format("the process that was to take the place of {} ended ({}){}",
                      to_string(process), to_string(*ended), last_errors()));
    } catch (const Error& error) {
      successor.gone = true;
      coordinator_.on_start_failed(process, successor.incarnation, error.message());
    }
  }
}

// Where the lost one was, or here. That may be stopped: it must not wake up beside its successor.
void Attempt::start(Successor& successor) {
  const wire::ProcessInfo& lost = successor.lost;
  const bool was_here = lost.host_id == host_identity();
  if (was_here) send_signal({static_cast<pid_t>(lost.pid), lost.started}, SIGKILL);
  const bool here = was_here || lost.host.empty();
  successor.child = std::make_unique<Child>(ChildCommand{
      plan_successor(config_, program_, logs_.parent_path(), lost, here),
      {{kIncarnationVariable, std::to_string(successor.incarnation)}, {kSharedSteps, "1"}},
      log("mpirun.out"),
      log("mpirun.err")});
}

bool Attempt::wait_for_mpirun(milliseconds patience) {
  if (child_) return child_->wait(patience).has_value();
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (mpirun_.pid != 0 && identify(mpirun_.pid) == mpirun_) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(milliseconds(20));  // no handle: it is not our child
  }
  return true;
}

void Attempt::end_mpirun() {
  if (child_) {
    child_->terminate(milliseconds(1000));
    return;
  }
  send_signal(mpirun_, SIGTERM);
  if (!wait_for_mpirun(milliseconds(1000))) end_process(mpirun_, std::chrono::seconds(5));
}

// Those of this host are killed first, by recorded identity: mpirun, asked to end a stopped rank,
// takes seconds. And it waits in vain for a host that is lost, so it is not given long.
Coordinator::Outcome Attempt::end(std::optional<Coordinator::Outcome> known) {
  const bool complete = known.has_value() && !*known;
  wait_for_mpirun(complete ? std::chrono::seconds(5) : milliseconds(500));
  // Also if mpirun is gone: it may have been killed, and a rank of it be stopped.
  for (const ProcessIdentity& rank : coordinator_.local_ranks()) send_signal(rank, SIGKILL);
  if (!wait_for_mpirun(milliseconds(500))) end_mpirun();
  for (Successor& successor : successors_) {  // those of other hosts hang on an mpirun of their own
    if (successor.child) successor.child->terminate(milliseconds(1000));
  }
  if (!known) known = coordinator_.wait(std::chrono::seconds(2));
  return known.value_or(std::nullopt);
}

}  // namespace sheaf::launcher
