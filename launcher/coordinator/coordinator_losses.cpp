// What the coordinator makes of a loss: another process in its place, or the end of the job.
#include <algorithm>

#include "common/base/error.h"
#include "common/params/partition_tree.h"
#include "launcher/coordinator/agreement.h"
#include "launcher/coordinator/coordinator.h"
#include "launcher/system/host.h"

namespace sheaf::launcher {

using cluster::Membership;
using wire::ControlKind;

void Coordinator::handle(const std::vector<Membership::Event>& events) {
  std::string missing;
  std::optional<ProcessId> first;
  for (const Membership::Event& event : events) {
    switch (event.kind) {
      case Membership::Event::Kind::suspected:
      case Membership::Event::Kind::recovered: record_.note("warning: " + event.text); break;
      case Membership::Event::Kind::dead:
        if (replace(event)) break;
        end_job(
            wire::Failure{event.process, static_cast<int>(Fault::network), phase(), event.text});
        // It may be stopped, or far away: nobody waits for it to hear of the end.
        if (ControlPeer* peer = find(event.process)) peer->close();
        break;
      case Membership::Event::Kind::missing:
        if (move(membership_.member(event.process).info, event.text)) break;
        if (!first) first = event.process;
        missing += (missing.empty() ? "" : "; ") + event.text;
        break;
    }
  }
  if (first) {
    missing += refusals_.clause();
    end_job(wire::Failure{*first, static_cast<int>(Fault::network), phase(), missing});
  }
}

// Whether another process takes its place, or a survivor its partitions, while everybody else goes
// on.
bool Coordinator::replace(const Membership::Event& event) {
  if (!running_ || ending_ || !replacements_) return false;
  const auto now = std::chrono::steady_clock::now();
  wire::ProcessInfo lost = membership_.member(event.process).info;
  // Whose memory or replica another one is to go on with has to be known.
  if (lost.process.role == Role::server && lost.pid == 0) return false;
  // What a server has left lies on its host, unless there is a replica.
  const bool moves = lost.process.role == Role::worker || options_.replicas;
  guest_of_.erase(lost.process);
  if (event.silent && moves && lost.host_id != host_identity()) lost.host.clear();  // may be gone
  // Nobody can take on a server.
  const bool aside = set_aside(lost, now) && lost.process.role == Role::worker;
  if (aside && lost.host_id == host_identity()) return move(lost, event.text);
  if (aside) lost.host.clear();
  // Nobody elsewhere has what its pushes had left out.
  const bool keeps = lost.process.role == Role::worker && options_.keeps_residuals;
  if (keeps && lost.host.empty() && options_.promises_bits) return false;
  if (shares_process(lost)) lost.pid = 0;  // nobody is to end that
  const auto successor = replacements_->on_lost(lost, checkpoints_->newest(), now);
  if (!successor) return move(lost, event.text);
  await(event.process, successor->incarnation, now + successor->pause);
  record_.note(fmt::format(
      "warning: {}: {}; another process takes its place{}", phase(), event.text,
      successor->pause > Duration{0} ? fmt::format(" in {:.0f} s", seconds(successor->pause))
                                     : ""));
  return true;
}

// It has no successor yet, and nobody hears of the one before any more.
void Coordinator::await(ProcessId process, std::uint32_t incarnation, TimePoint from) {
  const bool again = membership_.member(process).state == cluster::MemberState::absent;
  incarnation_.store(incarnation);
  replaced_.insert(process);
  first_ranks_.store(options_.servers + options_.workers - replaced_.size());
  // A host that is gone does not answer: less than for the start of a whole job.
  const Duration limit = std::max<Duration>(options_.dead, std::chrono::seconds(5));
  membership_.await_successor(process, incarnation, from, limit);
  if (!again) record_.on_lost(process, std::chrono::steady_clock::now());
  if (speculation_ && process.role == Role::worker) speculation_->on_lost(process.id);
  // It may be stopped, or far away: it is told nothing more.
  if (ControlPeer* peer = find(process)) peer->close();
}

// No process can take its place: a worker that is left becomes it as well.
bool Coordinator::move(const wire::ProcessInfo& lost, const std::string& why) {
  if (!running_ || ending_ || !replacements_ || lost.process.role != Role::worker) return false;
  const auto now = std::chrono::steady_clock::now();
  ControlPeer* host = host_for(lost, now);
  if (host == nullptr) return false;
  const auto incarnation = replacements_->on_moved(lost, checkpoints_->newest(), now);
  if (!incarnation) return false;
  await(lost.process, *incarnation, now);
  guest_of_[lost.process] = host->process();
  record_.note(fmt::format("warning: {}: {}; {} takes on its partitions", phase(), why,
                           to_string(host->process())));
  wire::ProcessInfo guest;
  guest.process = lost.process;
  guest.incarnation = *incarnation;
  host->send(ControlKind::guest, guest);
  return true;
}

// Of the workers at work in processes of their own the one with the fewest guests, and of those one
// whose host is not set aside, if there is any.
ControlPeer* Coordinator::host_for(const wire::ProcessInfo& lost, TimePoint now) {
  ControlPeer* best = nullptr;
  std::pair<bool, std::size_t> least;
  for (const cluster::Member& member : membership_.members()) {
    const ProcessId process = member.info.process;
    if (process.role != Role::worker || process == lost.process || guest_of_.contains(process) ||
        member.state != cluster::MemberState::running || failed_.contains(process)) {
      continue;
    }
    ControlPeer* const peer = find(process);
    if (peer == nullptr) continue;
    const bool aside =
        options_.hosts != nullptr && options_.hosts->is_aside(member.info.host_id, now);
    const auto guests = static_cast<std::size_t>(
        std::ranges::count(guest_of_, process, &std::pair<const ProcessId, ProcessId>::second));
    if (best == nullptr || std::pair(aside, guests) < least) {
      best = peer;
      least = {aside, guests};
    }
  }
  return best;
}

// Whether somebody else is at work in its process.
bool Coordinator::shares_process(const wire::ProcessInfo& lost) const {
  return std::ranges::any_of(membership_.members(), [&](const cluster::Member& m) {
    return m.info.process != lost.process && m.info.host_id == lost.host_id &&
           m.info.pid == lost.pid && m.state == cluster::MemberState::running;
  });
}

// Counts the loss against its host. Where all ranks are on one host nothing else could be chosen.
bool Coordinator::set_aside(const wire::ProcessInfo& lost, TimePoint now) {
  if (options_.hosts == nullptr || lost.host_id.empty()) return false;
  const bool others = std::ranges::any_of(membership_.members(), [&](const cluster::Member& m) {
    return !m.info.host_id.empty() && m.info.host_id != lost.host_id;
  });
  if (!others) return false;
  if (options_.hosts->on_loss(lost.host_id, membership_.member(lost.process).info.host, now)) {
    for (const std::string& line : options_.hosts->lines(now)) record_.note("warning: " + line);
  }
  return options_.hosts->is_aside(lost.host_id, now);
}

void Coordinator::on_successor(ControlPeer& peer) {
  const Agreement agreement = compare(registrations_, options_.deterministic);
  if (agreement.misfit) {
    wire::Failure misfit = *agreement.misfit;
    misfit.phase = phase();
    return end_job(std::move(misfit));
  }
  if (!agreement.warnings.empty()) record_.on_other_numerics();
  for (const std::string& warning : agreement.warnings) {  // of others they have been said
    if (warning.starts_with(to_string(peer.process()))) record_.note("warning: " + warning);
  }
  replacements_->on_registered(peer.process());
}

// It begins where its partitions are, and learns what the others have been told.
void Coordinator::begin_successor(ProcessId worker, Step first) {
  ControlPeer* peer = find(worker);
  if (peer == nullptr) return;  // it has left again
  membership_.on_running();
  record_.on_members(membership_.members());
  const PartitionRange hosted =
      params::hosted_partitions(options_.partitions, options_.workers, worker.id);
  // What it has computed for others it may not have reported any more.
  const PartitionRange unknown = speculation_ ? PartitionRange{0, options_.partitions} : hosted;
  record_.on_successor(unknown, first, std::chrono::steady_clock::now());
  checkpoints_->on_replaced(
      worker, [&](const wire::CheckpointAt& order) { peer->send(ControlKind::checkpoint, order); });
  wire::Start start = start_message(Role::worker);
  start.first_step = first;
  start.manifest.clear();
  if (options_.keeps_residuals && !goes_on_with_residuals(worker, first, start)) return;
  peer->send(ControlKind::start, start);
  if (const Releases* releases = record_.releases()) {
    peer->send(ControlKind::granted, wire::Drain{releases->granted()});
  }
  least_begun_[worker] = std::min(first + 1, steps_);  // a chunk may have that step
  if (drained_to_) {
    peer->send(ControlKind::last_step, wire::Drain{*drained_to_});
  } else if (draining_) {
    peer->send(ControlKind::drain, wire::Drain{});
  }
}

// With what the pushes of a worker had left out its successor goes on, if that lies on its host and
// whoever left it can be ended. Else, where the same bits are promised, all go back to a
// checkpoint, and elsewhere it begins with nothing.
bool Coordinator::goes_on_with_residuals(ProcessId successor, Step first, wire::Start& start) {
  const auto left = left_residuals(successor);
  if (!left && options_.promises_bits) {
    end_job(wire::Failure{
        successor, static_cast<int>(Fault::network), phase(),
        "what its pushes had left out is lost: all go back to the newest checkpoint"});
    return false;
  }
  const wire::ProcessInfo& info = registrations_.at(successor).info;
  if (left) {
    start.predecessor = *left;
  } else {
    start.predecessor = residuals_of_.try_emplace(successor, info).first->second;
    start.predecessor.pid = 0;
    record_.on_residuals_lost(
        params::hosted_partitions(options_.partitions, options_.workers, successor.id), first);
  }
  residuals_of_[successor] = info;
  return true;
}

std::optional<wire::ProcessInfo> Coordinator::left_residuals(ProcessId successor) const {
  const wire::Registration& registration = registrations_.at(successor);
  const auto left = residuals_of_.find(successor);
  if (!registration.has_residuals || left == residuals_of_.end()) return std::nullopt;
  const wire::ProcessInfo& owner = left->second;
  const bool is_its =
      registration.residuals_of == owner.incarnation && registration.info.host_id == owner.host_id;
  if (!is_its || shares_process(owner)) return std::nullopt;
  return owner;
}

// It learns of the checkpoints under way before it serves anybody: else it could pass them.
void Coordinator::begin_server(const wire::ProcessInfo& lost) {
  ControlPeer* peer = find(lost.process);
  if (peer == nullptr) return;  // it has left again
  checkpoints_->on_replaced(lost.process, [&](const wire::CheckpointAt& order) {
    peer->send(ControlKind::checkpoint, order);
  });
  wire::Start start = start_message(Role::server);
  start.predecessor = lost;
  peer->send(ControlKind::start, start);
}

void Coordinator::on_moved(ControlPeer& peer) {
  const ProcessId server = peer.process();
  // The coordinator before may have waited for it.
  if (!replacements_->on_adopted(server) && !options_.takeover) {
    fail(Fault::network, "{} has taken nobody's place", to_string(server));
  }
  membership_.on_running();
  record_.on_members(membership_.members());
  record_.on_successor(server, std::chrono::steady_clock::now());
  tell_moved(membership_.member(server).info);
}

void Coordinator::tell_moved(const wire::ProcessInfo& server) {
  for (const auto& peer : peers_) {
    const ProcessId other = peer->process();
    if (other.role == Role::client || other == server.process) continue;
    peer->send(ControlKind::moved, server);
  }
}

void Coordinator::on_start_failed(ProcessId worker, std::uint32_t incarnation, std::string why) {
  net::asio::post(context_, [this, worker, incarnation, why = std::move(why)] {
    const cluster::Member& member = membership_.member(worker);
    if (member.info.incarnation != incarnation) return;
    if (member.state != cluster::MemberState::absent) return;  // its connection says how it ended
    if (move(member.info, why)) return;
    end_job(wire::Failure{worker, static_cast<int>(Fault::network), phase(), why});
  });
}

// A rank that lost a peer is a witness, not the culprit: the culprit's own connection ends at the
// same time. It is given a moment to be seen (judge_witnesses).
void Coordinator::on_failure(ControlPeer& peer, wire::Failure failure) {
  failed_.insert(peer.process());
  if (!membership_.expects(failure.process)) failure.process = peer.process();
  if (failure.phase.empty()) failure.phase = phase();
  // It says that another one broke the rules: that is no loss, and the culprit is known.
  if (failure.process != peer.process()) return end_job(failure);
  if (failure.fault != static_cast<int>(Fault::network)) return end_job(failure);
  witnesses_.push_back({std::move(failure), std::chrono::steady_clock::now()});
}

// Nobody else is at fault: then it is the witness that is lost.
void Coordinator::judge_witnesses(TimePoint now) {
  constexpr Duration kMoment = std::chrono::milliseconds(500);
  while (!ending_ && !witnesses_.empty() && now - witnesses_.front().since > kMoment) {
    const wire::Failure failure = std::move(witnesses_.front().failure);
    witnesses_.erase(witnesses_.begin());
    failed_.erase(failure.process);
    if (!replace({Membership::Event::Kind::dead, failure.process, failure.text})) end_job(failure);
  }
}

}  // namespace sheaf::launcher
