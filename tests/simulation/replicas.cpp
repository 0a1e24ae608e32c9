#include "tests/simulation/replicas.h"

#include "common/wire/handshake.h"
#include "tests/simulation/lane_server.h"
#include "tests/simulation/server_process.h"

namespace sheaf::simulation {

using wire::FrameType;
using wire::Header;
using wire::OutFrame;

// ---- a connection to the backup -----------------------------------------------------------------

ToBackup::ToBackup(Cluster& cluster, LaneServer& lane, ServerProcess* backup,
                   server::BackupTalk::Options options)
    : cluster_(cluster),
      lane_(lane),
      process_(lane.process()),
      whom_(options.backup),
      backup_(backup),
      talk_(std::move(options), *lane.shard),
      since_(cluster.now()) {}

// Nobody listens where a process has ended; where it is stopped, or has its part to get first,
// nobody answers.
void ToBackup::look() {
  const std::uint64_t attempt = ++attempt_;
  const bool gone = backup_ == nullptr || !backup_->alive;
  cluster_.later(gone ? cluster_.random_delay() : kDead, process_,
                 [this, attempt] { on_failed(attempt); });
  if (!gone) knock(*backup_, attempt);
}

void ToBackup::knock(ServerProcess& there, std::uint64_t attempt) {
  cluster_.later(cluster_.random_delay(), there, [this, &there, attempt] {
    if (attempt != attempt_ || !process_.alive) return;
    LaneServer& lane = *there.lanes[lane_.number()];
    if (!lane.serves()) {
      return cluster_.later(20, there, [this, &there, attempt] { knock(there, attempt); });
    }
    wire::Identity identity;
    identity.process = process_.id;
    identity.incarnation = process_.incarnation;
    identity.lane = lane_.number();
    const bool open = cluster_.options.mutant == Mutant::unfenced_replica;
    if (!open && lane.door.admit(identity) != wire::Verdict::welcome) {
      ++cluster_.outcome.turned_away;
      return cluster_.later(cluster_.random_delay(), process_, [this] { process_.kill(); });
    }
    Channel& channel = lane.kept(process_.id.id).connect(process_, *this);
    cluster_.later(cluster_.random_delay(), process_,
                   [this, &channel, attempt] { on_admitted(channel, attempt); });
  });
}

void ToBackup::on_admitted(Channel& channel, std::uint64_t attempt) {
  if (attempt != attempt_) return channel.close(Channel::kCaller);
  ++attempt_;
  channel_ = &channel;
  talk_.on_attached();
  channel.wake(Channel::kCaller);
}

// It tries again for as long as it may take until another process is at work there; who has nothing
// yet goes on with what is there now, or not at all.
void ToBackup::on_failed(std::uint64_t attempt) {
  if (attempt != attempt_) return;
  const Milliseconds patience = talk_.adopts() ? 0 : kDead + kStart;
  if (cluster_.now() - since_ > patience) return process_.kill();
  const std::uint64_t next = ++attempt_;
  cluster_.later(50, process_, [this, next] {
    if (next == attempt_) look();
  });
}

void ToBackup::moved(ServerProcess& server) {
  if (server.id != whom_ || (backup_ != nullptr && server.incarnation <= backup_->incarnation)) {
    return;
  }
  backup_ = &server;
  if (channel_ != nullptr) return cut();
  look();
}

void ToBackup::wake() {
  if (channel_ != nullptr) channel_->wake(Channel::kCaller);
}

void ToBackup::cut() {
  if (channel_ == nullptr) return;
  channel_->close(Channel::kCaller);
  on_closed();
}

void ToBackup::on_closed() {
  channel_ = nullptr;
  if (talk_.adopts()) return process_.kill();
  since_ = cluster_.now();
  lane_.shard->on_backup_lost();
  look();
}

// ---- what is said over it -----------------------------------------------------------------------

std::span<std::byte> ToBackup::receive_into(const Header& header) {
  return talk_.receive_into(header);
}

// Who is not given a whole replica ends, and the job goes back.
void ToBackup::on_frame(const Header& header) {
  const bool early = cluster_.options.mutant == Mutant::early_replica;
  if (early && header.type == FrameType::replicated) return;
  const bool refused = header.type == FrameType::replica &&
                       header.status == static_cast<std::uint8_t>(wire::ReplicaWord::part);
  const bool adopted = talk_.adopts();
  try {
    talk_.on_frame(header);
  } catch (const Error& error) {
    if (process_.alive && !(adopted && (refused || error.fault() == Fault::checkpoint))) throw;
    process_.kill();
  }
}

std::optional<OutFrame> ToBackup::next_frame() {
  auto frame = talk_.next_frame();
  if (frame && cluster_.options.mutant == Mutant::early_replica) answer_early(frame->header);
  return frame;
}

void ToBackup::answer_early(const Header& sent) {
  const bool copied = sent.type == FrameType::copy && sent.status != 0;
  if (!copied && sent.type != FrameType::replicate) return;
  Header answer;
  answer.type = FrameType::replicated;
  answer.chunk = sent.chunk;
  answer.step = sent.step + (copied ? 0 : 1);
  cluster_.later(0, process_, [this, answer, channel = channel_] {
    if (channel != nullptr && channel == channel_) talk_.on_frame(answer);
  });
}

void ToBackup::on_written() { lane_.shard->on_written_to_backup(); }

// ---- the replica --------------------------------------------------------------------------------

KeptReplica::KeptReplica(Cluster& cluster, Process& process, const server::Replica::Parts& parts,
                         bool whole)
    : cluster_(cluster), process_(process), replica_(parts, whole), whole_(whole) {}

Channel& KeptReplica::connect(Process& caller, Talker& calling) {
  const bool listens_on = cluster_.options.mutant == Mutant::unfenced_replica;
  if (channel_ != nullptr && !listens_on) channel_->close(Channel::kCalled);
  channel_ = &cluster_.new_channel(caller, calling, process_, *this);
  replica_.on_connected();
  held_.reset();
  answers_.clear();
  return *channel_;
}

std::span<std::byte> KeptReplica::receive_into(const Header& header) {
  if (is_stale() && header.type != FrameType::replica) take_held();
  if (!is_stale() || header.type != FrameType::replicate) return replica_.receive_into(header);
  return held_.emplace(header, Bytes(header.payload_bytes)).second;
}

void KeptReplica::on_frame(const Header& header) {
  if (is_stale() && header.type == FrameType::replicate) {
    OutFrame answer;
    answer.header.type = FrameType::replicated;
    answer.header.chunk = header.chunk;
    answer.header.step = header.step + 1;
    answers_.push_back(std::move(answer));
    return;
  }
  const auto whole = static_cast<std::uint8_t>(wire::ReplicaWord::whole);
  if (header.type == FrameType::replica && header.status == whole && !std::exchange(whole_, true)) {
    ++cluster_.outcome.made_whole;
  }
  replica_.on_frame(header);
  if (!is_stale() || header.type != FrameType::copy) return;
  if (auto answer = replica_.next_frame()) answers_.push_back(std::move(*answer));
}

std::optional<OutFrame> KeptReplica::next_frame() {
  if (answers_.empty()) return replica_.next_frame();
  OutFrame frame = std::move(answers_.front());
  answers_.pop_front();
  return frame;
}

void KeptReplica::take_held() {
  if (!held_) return;
  const auto [header, bytes] = *std::exchange(held_, std::nullopt);
  std::ranges::copy(bytes, replica_.receive_into(header).begin());
  replica_.on_frame(header);
  replica_.next_frame();  // it was answered before
}

}  // namespace sheaf::simulation
