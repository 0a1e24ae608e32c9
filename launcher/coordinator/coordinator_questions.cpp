// What clients ask of a coordinator: how the job stands, and another number of workers.
#include <fmt/format.h>

#include "common/base/error.h"
#include "launcher/coordinator/coordinator.h"

namespace sheaf::launcher {

using wire::ControlKind;

void Coordinator::on_question(ControlPeer& client, ControlKind kind,
                              std::span<const std::byte> body) {
  if (kind == ControlKind::scale) {
    const std::string refusal = scale(wire::from_bytes<wire::Scale>(body).workers);
    return client.send(kind, wire::Log{!refusal.empty(), refusal});
  }
  if (kind != ControlKind::status) {
    fail(Fault::network, "control message {} from a client", static_cast<std::uint64_t>(kind));
  }
  if (!waits_ || ending_) return client.send(kind, status({}));
  waits_->ask(std::chrono::steady_clock::now(), [this, who = client.process()](const auto& lines) {
    if (ControlPeer* asking = find(who)) asking->send(ControlKind::status, status(lines));
  });
}

wire::Status Coordinator::status(std::vector<std::string> waits) const {
  const auto now = std::chrono::steady_clock::now();
  wire::Status s;
  s.job = options_.job;
  s.phase = draining_ ? "finishing the step" : phase();
  s.step = newest_step_;
  s.steps = steps_;
  if (waits_) s.still_seconds = seconds(waits_->still(now));
  if (const auto survives = waits_ ? waits_->survives() : std::nullopt) {
    s.survives = to_string(*survives);
  }
  if (const auto newest = checkpoints_ ? checkpoints_->newest() : std::nullopt) {
    s.saved = true;
    s.checkpoint = *newest;
  }
  s.incarnation = options_.incarnation;
  s.partitions = options_.partitions;
  for (const cluster::Member& m : membership_.members()) {
    const bool heard = m.state != cluster::MemberState::absent;
    s.members.push_back({m.info.process, m.info.pid, m.info.host,
                         std::string(to_string(process_state(m.state))),
                         heard ? seconds(now - m.heard) : 0});
  }
  s.waits = std::move(waits);
  if (options_.hosts != nullptr) s.set_aside = options_.hosts->lines(now);
  return s;
}

// Why not; empty: it drains for that.
std::string Coordinator::scale(std::uint32_t workers) {
  if (!options_.scalable) {
    return "the job has no supervisor that could start it again: start it with sheaf train";
  }
  if (!running_ || ending_ || draining_) return "the job is starting or ending: ask again";
  if (workers < 1 || workers > options_.partitions) {
    return fmt::format("found {} workers, expected 1 to {} (run.partitions)", workers,
                       options_.partitions);
  }
  if (!checkpoints_->newest()) return "nothing is saved yet: ask again";
  if (checkpoints_->last_failed()) {
    return "the last checkpoint could not be written, and the job would lose what it has done";
  }
  if (workers == options_.workers) return fmt::format("the job has {} workers", workers);
  record_.note(fmt::format("goes on with {} workers as soon as the step is saved", workers));
  scale_.store(workers);
  drain();
  return {};
}

std::optional<std::uint32_t> Coordinator::scaled_to() const {
  const std::uint32_t workers = scale_.load();
  return workers == 0 ? std::nullopt : std::optional(workers);
}

}  // namespace sheaf::launcher
