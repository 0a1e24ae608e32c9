#include "launcher/attempt.h"

#include <csignal>

#include "common/base/error.h"
#include "launcher/process_identity.h"
#include "launcher/rank.h"

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;

Coordinator::Options coordinator_of(const Attempt::Options& o, const wire::JobKey& key) {
  const NetworkSection& network = o.config.network();
  Coordinator::Options options =
      coordinator_options(o.config, key, o.address, {network.port_low, network.port_high});
  options.resumed = o.resumed;
  options.incarnation = o.incarnation;
  options.scalable = true;
  return options;
}

}  // namespace

Attempt::Attempt(const Options& options)
    : scratch_(options.scratch),
      coordinator_(coordinator_of(options, key_), options.record),
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

// mpirun that ends before the job does has lost it, whatever its exit code says. The coordinator
// may know a better reason a moment later: it is given that moment.
void Attempt::watch_child() {
  if (child_gone_ || !child_->ended()) return;
  child_gone_ = true;
  if (coordinator_.wait(std::chrono::seconds(1))) return;
  read_errors();
  std::string text =
      fmt::format("mpirun ended ({}) before the job did", to_string(*child_->ended()));
  for (const std::string& line : last_errors_) text += "\n  " + line;
  coordinator_.abort({{Role::coordinator, 0}, static_cast<int>(Fault::network), "", text});
}

// Those of this host are killed first, by recorded identity: mpirun, asked to end a stopped rank,
// takes seconds. And it waits in vain for a host that is lost, so it is not given long.
Coordinator::Outcome Attempt::end(std::optional<Coordinator::Outcome> known) {
  const bool complete = known.has_value() && !*known;
  child_->wait(complete ? std::chrono::seconds(5) : milliseconds(500));
  // Also if mpirun is gone: it may have been killed, and a rank of it be stopped.
  for (const ProcessIdentity& rank : coordinator_.local_ranks()) send_signal(rank, SIGKILL);
  if (!child_->wait(milliseconds(500))) child_->terminate(milliseconds(1000));
  if (!known) known = coordinator_.wait(std::chrono::seconds(2));
  return known.value_or(std::nullopt);
}

}  // namespace sheaf::launcher
