#include "tests/simulation/lane_server.h"

#include <atomic>

#include "common/wire/checksum.h"
#include "tests/simulation/server_process.h"
#include "tests/simulation/worker.h"

namespace sheaf::simulation {

using server::SessionId;
using server::TraceEvent;
using wire::FrameType;
using wire::Header;

bool LaneServer::MortalDescent::step(const optimization::OptimizerStep& step,
                                     std::span<const float> in, std::span<const float> gradient,
                                     std::span<float> state, std::span<float> out) const {
  const std::size_t half = in.size() / 2;
  bool finite = true;
  const bool still = is_still(options_, step.group);
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (i == half) process_.breathe();
    if (!still) state[i] += 1;  // counts the steps
    const auto scale = static_cast<float>(step.gradient_scale);
    out[i] = in[i] - static_cast<float>(step.rate) * step.group.rate_scale * (scale * gradient[i]);
    finite = finite && std::isfinite(gradient[i]);
  }
  return finite;
}

LaneServer::LaneServer(Cluster& cluster, ServerProcess& process, std::size_t index)
    : door({.lane = static_cast<std::uint32_t>(index) % cluster.options.lanes,
            .epoch = 0,
            .servers = 0,
            .workers = cluster.options.workers}),
      cluster_(cluster),
      process_(process),
      index_(index),
      optimizer_(process, cluster.options),
      fences_(cluster.options.workers, 0) {}

server::ShardParts LaneServer::parts() {
  const Options& o = cluster_.options;
  const auto index = static_cast<std::uint32_t>(index_);
  return {.layout = cluster_.all,
          .chunks = cluster_.chunks,
          .shards = cluster_.shards,
          .lane = {index / o.lanes, index % o.lanes},
          .partitions = o.partitions,
          .connections = o.workers,
          .gate = *cluster_.gate,
          .optimizer = optimizer_,
          .schedule = cluster_.rate,
          .push = *cluster_.push,
          .pull = *cluster_.pull,
          .clip_norm = o.clip_norm,
          .skip_non_finite = o.skip};
}

bool LaneServer::open(const Beginning& beginning) {
  server::ShardParts parts = this->parts();
  parts.restores_rest = beginning.adopt && cluster_.resumed.has_value();
  parts.replicated = !beginning.backups.empty();
  const bool left = cluster_.options.snapshot && open_snapshot(beginning, parts);
  if (left && number() == 0) ++cluster_.outcome.adoptions;
  const bool adopt = beginning.adopt && !left;
  if (adopt && !parts.replicated) return false;
  checker = std::make_unique<server::TraceChecker>(
      server::TraceHead{.partitions = cluster_.options.partitions,
                        .first = cluster_.resumed ? cluster_.resumed->step : 0,
                        .synchronous = cluster_.promised->synchronous(),
                        .overtakes = cluster_.promised->overtakes(),
                        .backup = cluster_.promised->backup(),
                        .staleness = cluster_.promised->staleness()});
  shard = std::make_unique<server::Shard>(parts, *this);
  shard->note_begun();
  if (parts.replicated) open_replicas(beginning, adopt);
  return true;
}

// Whether there is one that another process has left on this host; else it begins one.
bool LaneServer::open_snapshot(const Beginning& beginning, server::ShardParts& parts) {
  const server::Snapshot::Shape shape = server::Shard::snapshot_shape(parts);
  std::span<std::byte>& memory = cluster_.snapshots[index_];
  const bool left = beginning.adopt && beginning.same_host && !memory.empty();
  if (left) {
    snapshot_ = server::Snapshot::adopt(memory, shape);
    if (cluster_.options.mutant == Mutant::lost_coverage) {
      for (std::size_t n = 0; n < shape.chunks.size(); ++n) {
        if (const auto newest = snapshot_.newest(n)) {
          std::ranges::fill(snapshot_.clocks(n, *newest), Step{0});
        }
      }
    }
  } else {
    memory = cluster_.allocate(server::Snapshot::bytes(shape));
    snapshot_ = server::Snapshot::begin(memory, shape);
  }
  parts.snapshot = snapshot_;
  return left;
}

// Those that it keeps, and its own, with which it may go on.
void LaneServer::open_replicas(const Beginning& beginning, bool adopt) {
  const std::uint32_t clocks = cluster_.gate->synchronous() ? 0 : cluster_.options.partitions;
  const std::uint32_t self = process_.id.id;
  const bool whole = !beginning.adopt || cluster_.options.mutant == Mutant::hollow_replica;
  for (std::uint32_t primary = 0; primary < cluster_.options.servers; ++primary) {
    const std::vector<std::uint32_t>& ids = cluster_.shards.chunks_of({primary, number()});
    if (beginning.backups[primary] != self || ids.empty()) continue;
    const server::Replica::Parts parts{.layout = cluster_.all,
                                       .chunks = cluster_.chunks,
                                       .ids = ids,
                                       .optimizer = optimizer_,
                                       .clocks = clocks};
    kept_.try_emplace(primary, cluster_, process_, parts, whole);
    door.expect_primary(primary, beginning.servers[primary]);
  }
  if (cluster_.shards.chunks_of({self, number()}).empty()) return;
  whole_ = !adopt || !cluster_.resumed;
  const std::uint32_t backup = beginning.backups[self];
  backup_ = std::make_unique<ToBackup>(
      cluster_, *this, beginning.there[backup],
      server::BackupTalk::Options{.backup = {Role::server, backup},
                                  .adopt = adopt,
                                  .on_adopted =
                                      [this] {
                                        ++cluster_.outcome.taken_over;
                                        process_.on_adopted(number());
                                      },
                                  .shape = {optimizer_.state_per_parameter(), clocks, false}});
}

void LaneServer::begin() {
  begun_ = true;
  if (backup_) backup_->start();
}

void LaneServer::moved(ServerProcess& server) {
  if (backup_) backup_->moved(server);
}

void LaneServer::cut_backup() {
  if (backup_) backup_->cut();
}

void LaneServer::note(const TraceEvent& event) {
  process_.breathe();
  const std::string problem = checker->add(event);
  check(problem.empty(), problem.c_str());
  if (event.kind != TraceEvent::Kind::push) return;
  if (process_.superseded()) return;  // nobody is told that it has anything
  cluster_.on_added(event);
  if (!cluster_.options.feedback || header_ == nullptr || payload_.empty()) return;
  std::vector<float> values(cluster_.chunks[event.chunk].size);
  cluster_.push->decode_add(payload_, {0, event.step, event.partitions.first, event.chunk}, values);
  cluster_.outcome.added[{event.chunk, event.step, event.partitions.first}] = std::move(values);
}

void LaneServer::reply(SessionId session, wire::OutFrame frame) {
  process_.breathe();
  if (frame.header.type == FrameType::push_ack &&
      frame.header.status == static_cast<std::uint8_t>(wire::PushStatus::partial)) {
    ++cluster_.outcome.partial;
  }
  if (!reading_.empty() && frame.header.type == FrameType::pull_reply) {
    const params::Chunk& chunk = cluster_.chunks[frame.header.chunk];
    std::ranges::copy(frame.payload,
                      std::as_writable_bytes(reading_.subspan(chunk.offset, chunk.size)).begin());
    return;
  }
  const Session& to = cluster_.sessions[session];
  cluster_.transmit(*to.worker, true,
                    [worker = to.worker, lane = to.lane, session, bytes = to_bytes(frame)] {
                      worker->receive(lane, session, bytes);
                    });
}

void LaneServer::share_scalar(Step step, std::uint32_t chunk, double value) {
  for (std::size_t to = 0; to < cluster_.shards.lane_count(); ++to) {
    if (to == index_) continue;
    LaneServer* const other = cluster_.lane(to);
    if (other == nullptr) continue;
    cluster_.transmit(other->process(), false,
                      [other, step, chunk, value] { other->on_scalar(step, chunk, value); });
  }
}

void LaneServer::on_scalar(Step step, std::uint32_t chunk, double value) {
  if (shard) shard->on_scalar(step, chunk, value);  // else nobody is connected to it yet
}

std::span<float> LaneServer::checkpoint_room(std::size_t floats) { return process_.room(floats); }

void LaneServer::checkpoint(Version version, std::uint32_t chunk, std::span<float> room) {
  process_.breathe();
  process_.ready(version, chunk, room);
}

void LaneServer::receive(SessionId session, const Bytes& bytes) {
  Header header;
  const auto payload = open_frame(bytes, header);
  const Session& from = cluster_.sessions[session];
  // Nobody waits for the answer any more. Pushes may come late all the same, which is harder; not
  // those of a process that has been replaced.
  if (from.closed && header.type == FrameType::pull) return;
  if (from.closed && cluster_.options.coordinated) return;
  check(from.worker->incarnation >= fences_[from.worker->id.id],
        "nothing of a worker's outdated self is used");
  check(payload.size() <= shard->payload_limit(header), "a payload within its limit");
  Buffer buffer;
  if (!payload.empty()) {
    buffer = shard->take_buffer();
    std::ranges::copy(payload, buffer.bytes().begin());
  }
  header_ = &header;
  payload_ = payload;
  shard->on_frame(session, header, std::move(buffer));
  header_ = nullptr;
  check(shard->memory_used() <= shard->memory_bound(), "the memory bound");
  if (cluster_.options.mutant == Mutant::early_acknowledgement && header.type == FrameType::push) {
    wire::OutFrame early;
    early.header = header;
    early.header.type = FrameType::push_ack;
    early.header.payload_bytes = 0;
    reply(session, std::move(early));
  }
}

void LaneServer::expect(std::uint32_t worker, std::uint32_t incarnation) {
  fences_[worker] = std::max(fences_[worker], incarnation);
  const Mutant mutant = cluster_.options.mutant;
  if (mutant == Mutant::no_fence || mutant == Mutant::late_fence) return;
  door.expect(worker, incarnation);
  for (std::size_t i = 0; i < cluster_.sessions.size(); ++i) {
    const Session& session = cluster_.sessions[i];
    if (session.server != this || session.closed) continue;
    if (session.worker->id.id == worker && session.worker->incarnation < incarnation) {
      cluster_.close(static_cast<SessionId>(i));
    }
  }
}

void LaneServer::read(std::span<float> vector) {
  reading_ = vector;
  for (const std::uint32_t c : cluster_.shards.chunks_of(parts().lane)) {
    Header pull;
    pull.type = FrameType::pull;
    pull.chunk = c;
    pull.step = cluster_.options.steps;
    shard->on_frame(0, pull, {});
  }
  reading_ = {};
}

void LaneServer::commit_torn() {
  for (std::size_t n = 0; n < cluster_.shards.chunks_of(parts().lane).size(); ++n) {
    const auto newest = snapshot_.newest(n);
    if (newest && *newest > 0 && !snapshot_.has(n, *newest - 1)) snapshot_.commit(n, *newest + 1);
  }
}

}  // namespace sheaf::simulation
