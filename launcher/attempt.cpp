#include "launcher/attempt.h"

#include <algorithm>
#include <csignal>
#include <iterator>
#include <utility>

#include "common/base/error.h"
#include "launcher/host.h"
#include "launcher/launch_plan.h"
#include "launcher/process_identity.h"
#include "launcher/rank.h"

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;

using Replace = std::function<void(const wire::ProcessInfo&, std::uint32_t)>;

Coordinator::Options coordinator_of(const Attempt::Options& o, const wire::JobKey& key,
                                    Replace replace) {
  const NetworkSection& network = o.config.network();
  Coordinator::Options options =
      coordinator_options(o.config, key, o.address, {network.port_low, network.port_high});
  options.resumed = o.resumed;
  options.incarnation = o.incarnation;
  options.scalable = true;
  options.budget = &o.restarts;
  options.servers_return = o.config.keeps_snapshots();
  if (o.config.recovery().restarts != 0) options.replace = std::move(replace);
  return options;
}

}  // namespace

Attempt::Attempt(const Options& options)
    : config_(options.config),
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
  options.record.write_control(endpoint, key_);
  while (!errors_.read_lines().empty()) {  // what an attempt before has left explains nothing here
  }
  coordinator_.start();
  child_.emplace(ChildCommand{options.launch.argv,
                              {{kCoordinatorVariable, to_string(endpoint)},
                               {kKeyVariable, key_.hex()},
                               {kIncarnationVariable, std::to_string(options.incarnation)},
                               {"TMPDIR", scratch_.path().string()}},
                              log("mpirun.out"),
                              log("mpirun.err")});
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
  if (child_missed_ || !child_->ended()) return;
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
  successor.child = std::make_unique<Child>(
      ChildCommand{plan_successor(config_, program_, logs_.parent_path(), lost.process,
                                  here ? std::string() : lost.host),
                   {{kIncarnationVariable, std::to_string(successor.incarnation)}},
                   log("mpirun.out"),
                   log("mpirun.err")});
}

// Those of this host are killed first, by recorded identity: mpirun, asked to end a stopped rank,
// takes seconds. And it waits in vain for a host that is lost, so it is not given long.
Coordinator::Outcome Attempt::end(std::optional<Coordinator::Outcome> known) {
  const bool complete = known.has_value() && !*known;
  child_->wait(complete ? std::chrono::seconds(5) : milliseconds(500));
  // Also if mpirun is gone: it may have been killed, and a rank of it be stopped.
  for (const ProcessIdentity& rank : coordinator_.local_ranks()) send_signal(rank, SIGKILL);
  if (!child_->wait(milliseconds(500))) child_->terminate(milliseconds(1000));
  for (Successor& successor : successors_) {  // those of other hosts hang on an mpirun of their own
    if (successor.child) successor.child->terminate(milliseconds(1000));
  }
  if (!known) known = coordinator_.wait(std::chrono::seconds(2));
  return known.value_or(std::nullopt);
}

}  // namespace sheaf::launcher
