// How a coordinator takes over a job that another one has begun: the ranks come back to it and say
// where they stand, and when all are here, or will not come any more, the job goes on. What no rank
// knows is on the disk: the newest checkpoint, and the rows of metrics.
#include <algorithm>

#include "common/base/error.h"
#include "common/params/partition_tree.h"
#include "launcher/coordinator/agreement.h"
#include "launcher/coordinator/coordinator.h"

namespace sheaf::launcher {

using wire::ControlKind;

namespace {

// A process of which nothing is known but its place.
wire::ProcessInfo nobody(ProcessId process) {
  wire::ProcessInfo info;
  info.process = process;
  return info;
}

}  // namespace

void Coordinator::expect_returns() {
  expecting_since_ = std::chrono::steady_clock::now();
  for (const cluster::Member& member : std::vector(membership_.members())) {
    expect(member.info.process);
  }
}

// One of an older incarnation is refused: it has been replaced.
void Coordinator::expect(ProcessId process) {
  std::uint32_t incarnation = 0;
  for (const wire::ProcessInfo& known : options_.takeover->members) {
    if (known.process == process) incarnation = known.incarnation;
  }
  membership_.await_successor(process, incarnation, std::chrono::steady_clock::now(),
                              std::chrono::hours(24));
}

void Coordinator::on_returned(ControlPeer& peer, wire::Return message) {
  const ProcessId process = peer.process();
  message.registration.info.process = process;  // what was proved, not what is claimed
  message.registration.info.incarnation = peer.incarnation();
  if (!options_.takeover || running_) {
    fail(Fault::network, "{} comes back, but nobody waits for it", to_string(process));
  }
  membership_.on_registered(message.registration.info, std::chrono::steady_clock::now());
  note_local(message.registration);
  registrations_[process] = message.registration;
  returns_[process] = std::move(message);
  record_.on_members(membership_.members());
  take_over_if_all_here();
}

void Coordinator::take_over_if_all_here() {
  if (ending_ || running_) return;
  const Options::Takeover& takeover = *options_.takeover;
  const bool all = std::ranges::all_of(membership_.members(), [&](const cluster::Member& m) {
    return returns_.contains(m.info.process) || takeover.gone.contains(m.info.process);
  });
  const auto now = std::chrono::steady_clock::now();
  if (all || now - expecting_since_ > takeover.limit) take_over();
}

void Coordinator::take_over() {
  const auto worker = std::ranges::find_if(
      returns_, [](const auto& entry) { return entry.first.role == Role::worker; });
  if (worker == returns_.end()) {
    return end_job(wire::Failure{
        {Role::coordinator, 0},
        static_cast<int>(Fault::network),
        "taking the job over",
        fmt::format("no worker has come back within {:.0f} s: the job has ended; sheaf train "
                    "--resume goes on from its newest checkpoint",
                    seconds(options_.takeover->limit))});
  }
  const wire::Registration first = worker->second.registration;
  registrations_.try_emplace({Role::worker, 0}, first);  // all have the same layout
  backups_ = worker->second.backups;                     // and were told the same

  const auto now = std::chrono::steady_clock::now();
  Step begun = worker->second.first_step;
  for (const auto& [process, message] : returns_) {
    begun = std::min(begun, message.first_step);
    const std::uint32_t incarnation = message.registration.info.incarnation;
    options_.incarnation = std::max(options_.incarnation, incarnation);
    residuals_of_[process] = message.registration.info;
  }
  incarnation_.store(options_.incarnation);
  std::vector<cluster::Membership::Event> lost;
  for (const cluster::Member& member : std::vector(membership_.members())) {
    const ProcessId process = member.info.process;
    if (returns_.contains(process)) continue;
    const auto& members = options_.takeover->members;
    const auto known = std::ranges::find(members, process, &wire::ProcessInfo::process);
    membership_.on_registered(known == members.end() ? nobody(process) : *known, now);
    if (auto event = membership_.on_closed(process, "it has not come back")) {
      lost.push_back(std::move(*event));
    }
  }

  running_ = true;
  began_.store(true, std::memory_order_relaxed);
  membership_.on_running();
  say_encryption();
  const Agreement agreement = compare(registrations_, options_.deterministic);
  const bool exact = agreement.warnings.empty() && options_.promises_bits;
  record_.on_taken_over(first, exact, begun, now);
  record_.on_members(membership_.members());
  for (const auto& [process, message] : returns_) {
    if (process.role != Role::worker) continue;
    const PartitionRange hosted =
        params::hosted_partitions(options_.partitions, options_.workers, process.id);
    // It may have computed for others, too.
    const PartitionRange told =
        options_.stands_in ? PartitionRange{0, options_.partitions} : hosted;
    record_.on_returned(told, message.known_from, now);
  }
  find_guests();
  begin_checkpoints(first);
  for (const auto& [process, message] : returns_) {
    newest_step_ = std::max(newest_step_, message.begun);
  }
  begin_replacements();
  record_.note(fmt::format("has taken the job over at step {}", newest_step_));

  send_all(Role::server, ControlKind::resumed, wire::Drain{});
  send_all(Role::worker, ControlKind::resumed, wire::Drain{});
  take_over_checkpoints();  // to what is ordered before it a rank has no answer
  for (const cluster::Member& member : membership_.members()) {  // not all may know of it
    const wire::ProcessInfo& server = member.info;
    if (server.process.role == Role::server && server.incarnation != 0) tell_moved(server);
  }
  take_over_drain();
  handle(lost);
}

// Which worker is in the process of which other one. A guest comes back like any other worker, with
// its own connection and place; it is younger than its host, since each that takes a place has the
// next incarnation.
void Coordinator::find_guests() {
  for (const auto& [process, message] : returns_) {
    if (process.role != Role::worker) continue;
    const wire::ProcessInfo& self = message.registration.info;
    std::pair host(self.incarnation, process);
    for (const auto& [other, its] : returns_) {
      const wire::ProcessInfo& info = its.registration.info;
      const bool together = other.role == Role::worker && info.host_id == self.host_id &&
                            info.pid == self.pid && info.started == self.started;
      if (together) host = std::min(host, std::pair(info.incarnation, other));
    }
    if (host.second != process) guest_of_[process] = host.second;
  }
}

// What was under way belongs to nobody and is given up, but for that of the last step, and the
// first if there is none yet: those are ordered again, and what servers were told of their bases
// stays true.
void Coordinator::take_over_checkpoints() {
  const bool first = !checkpoints_->newest();
  std::set<Version> ordered;
  for (const auto& [process, message] : returns_) {
    ordered.insert(message.ordered.begin(), message.ordered.end());
    if (message.ends) {
      drained_to_ = message.last_step;
      last_ = std::min(message.last_step, steps_);
    }
  }
  for (const Version version : ordered) {
    if (version == last_ || version == steps_ || (version == 0 && first)) continue;
    checkpoints_->give_up(version);
  }
  if (first) checkpoints_->take(0, last_ == 0);
  std::set<Version> bases;
  for (const auto& [process, message] : returns_) {
    for (const wire::CheckpointBase& base : message.bases) {
      if (base.version == last_) bases.insert(base.base);
    }
  }
  checkpoints_->take(last_, true, bases);
}

void Coordinator::take_over_drain() {
  draining_ = drained_to_.has_value();
  if (drained_to_) return send_all(Role::worker, ControlKind::last_step, wire::Drain{*drained_to_});
  const bool asked =
      std::ranges::any_of(returns_, [](const auto& entry) { return entry.second.draining; });
  if (asked || options_.takeover->ends) drain();
}

}  // namespace sheaf::launcher
