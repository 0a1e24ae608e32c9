// What the coordinator makes of a loss: another process in its place, or the end of the job.
#include <algorithm>

#include "common/base/error.h"
#include "common/params/partition_tree.h"
#include "launcher/agreement.h"
#include "launcher/coordinator.h"
#include "launcher/host.h"

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

// Whether another process takes its place, while everybody else goes on.
bool Coordinator::replace(const Membership::Event& event) {
  if (!running_ || ending_ || !replacements_) return false;
  const auto now = std::chrono::steady_clock::now();
  wire::ProcessInfo lost = membership_.member(event.process).info;
  const bool moves = lost.process.role == Role::worker;  // what a server has left lies on its host
  if (event.silent && moves && lost.host_id != host_identity()) lost.host.clear();  // may be gone
  const auto successor = replacements_->on_lost(lost, checkpoints_->newest(), now);
  if (!successor) return false;
  incarnation_.store(successor->incarnation);
  replaced_.insert(event.process);
  first_ranks_.store(options_.servers + options_.workers - replaced_.size());
  // A host that is gone does not answer: less than for the start of a whole job.
  const Duration limit = std::max<Duration>(options_.dead, std::chrono::seconds(5));
  membership_.await_successor(event.process, successor->incarnation, now + successor->pause, limit);
  record_.note(fmt::format(
      "warning: {}: {}; another process takes its place{}", phase(), event.text,
      successor->pause > Duration{0} ? fmt::format(" in {:.0f} s", seconds(successor->pause))
                                     : ""));
  record_.on_lost(event.process, now);
  // It may be stopped, or far away: it is told nothing more.
  if (ControlPeer* peer = find(event.process)) peer->close();
  return true;
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
  record_.on_successor(hosted, first, std::chrono::steady_clock::now());
  wire::Start start = start_message();
  start.first_step = first;
  start.manifest.clear();
  peer->send(ControlKind::start, start);
  least_begun_[worker] = std::min(first + 1, steps_);  // a chunk may have that step
  if (drained_to_) {
    peer->send(ControlKind::last_step, wire::Drain{*drained_to_});
  } else if (draining_) {
    peer->send(ControlKind::drain, wire::Drain{});
  }
}

// It learns of the checkpoints under way before it serves anybody: else it could pass them.
void Coordinator::begin_server(const wire::ProcessInfo& lost) {
  ControlPeer* peer = find(lost.process);
  if (peer == nullptr) return;  // it has left again
  checkpoints_->on_replaced(lost.process.id, [&](const wire::CheckpointAt& order) {
    peer->send(ControlKind::checkpoint, order);
  });
  wire::Start start = start_message();
  start.manifest.clear();
  start.predecessor = lost;
  peer->send(ControlKind::start, start);
}

void Coordinator::on_moved(ControlPeer& peer) {
  const ProcessId server = peer.process();
  if (!replacements_->on_adopted(server)) {
    fail(Fault::network, "{} has taken nobody's place", to_string(server));
  }
  membership_.on_running();
  record_.on_members(membership_.members());
  record_.on_successor(server, std::chrono::steady_clock::now());
  for (const auto& p : peers_) {
    if (p->process().role == Role::worker) {
      p->send(ControlKind::moved, membership_.member(server).info);
    }
  }
}

void Coordinator::on_start_failed(ProcessId worker, std::uint32_t incarnation, std::string why) {
  net::asio::post(context_, [this, worker, incarnation, why = std::move(why)] {
    const cluster::Member& member = membership_.member(worker);
    if (member.info.incarnation != incarnation) return;
    if (member.state != cluster::MemberState::absent) return;  // its connection says how it ended
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
