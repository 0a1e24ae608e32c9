#include "tests/simulation/server_process.h"

#include <limits>

#include "launcher/coordinator/checkpoints.h"
#include "tests/simulation/coordinator.h"
#include "tests/simulation/worker.h"

namespace sheaf::simulation {
namespace {

// An operation may be the last one of a process; a write may then be half done.
checkpoint::WatchedDisk::Before mortal(Process& process) {
  return [&process](const checkpoint::Operation& operation) {
    const bool last = process.alive && process.breaths && *process.breaths == 0;
    if (last && operation.half) operation.half();
    process.breathe();
  };
}

}  // namespace

ServerProcess::ServerProcess(Cluster& cluster, std::uint32_t server, std::uint32_t number)
    : cluster_(cluster), disk_(cluster.disk, mortal(*this)) {
  id = {Role::server, server};
  incarnation = number;
  attempt = cluster.attempt;
  const Options& o = cluster.options;
  for (std::uint32_t l = 0; l < o.lanes; ++l) {
    lanes.push_back(std::make_unique<LaneServer>(cluster, *this, server * o.lanes + l));
    const auto& chunks = cluster.shards.chunks_of({server, l});
    ids_.insert(ids_.end(), chunks.begin(), chunks.end());
  }
  std::ranges::sort(ids_);
  if (!o.coordinated) return;
  on_killed = [this] { cluster_.on_killed(*this); };
  part_ = std::make_unique<server::PartWriter>(
      disk_, server::PartWriter::Options{
                 .folder = kCheckpoints,
                 .file = {.layout = cluster.all,
                          .chunks = cluster.chunks,
                          .ids = ids_,
                          .state_per_parameter = 1,
                          .job = "simulation",
                          .step = 0,
                          .server = server,
                          .host = "host"},
                 .on_done = [this](Version version, std::optional<checkpoint::Part> written,
                                   const std::string& error) {
                   if (!alive) return;
                   wire::Saved saved;
                   if (written) saved = launcher::saved_message(version, *written);
                   saved.version = version;
                   saved.error = error;
                   cluster_.report(*this, [server = id.id, saved](Coordinator& c) {
                     c.on_saved(server, saved);
                   });
                 }});
}

void ServerProcess::open(const Beginning& beginning) {
  for (const auto& lane : lanes) {
    if (!lane->open(beginning)) return kill();  // its predecessor may not have come so far
    for (std::uint32_t w = 0; w < beginning.workers.size(); ++w) {
      lane->expect(w, beginning.workers[w]);
    }
    if (lane->adopts()) ++adopting_;
  }
  const auto& resumed = cluster_.resumed;
  for (std::size_t l = 0; resumed && l < lanes.size(); ++l) {
    readers_.push_back(std::make_unique<checkpoint::Reader>(disk_, kCheckpoints, *resumed));
    ++restoring_;
  }
  if (resumed && cluster_.chance(4) == 0) reading_ = 400;
  adopted_ = beginning.adopt;
  // Nobody goes on behind a checkpoint that will be ordered.
  const bool first = cluster_.options.coordinated && !resumed && !beginning.adopt;
  for (std::size_t l = 0; l < lanes.size(); ++l) {
    if (first) lanes[l]->shard->checkpoint_at(0);
    lanes[l]->begin();
    if (resumed && !lanes[l]->adopts()) restore(l, 0);
  }
  if (adopting_ == 0) begin_work();
}

void ServerProcess::on_adopted(std::uint32_t lane) {
  if (cluster_.resumed) restore(lane, 0);
  if (--adopting_ == 0) begin_work();
}

// Whoever asked for something was left to wait.
void ServerProcess::begin_work() {
  opened_ = true;
  if (adopted_) {
    cluster_.share_scalars();
    cluster_.report(*this, [server = id](Coordinator& c) { c.on_moved(server); });
  }
  for (const auto& order : std::exchange(early_, {})) checkpoint_at(order);
}

bool ServerProcess::superseded() const {
  const ServerProcess* const newest = cluster_.newest_server(id.id);
  return newest != this && newest != nullptr && newest->opened_;
}

void ServerProcess::moved(ServerProcess& server) {
  for (const auto& lane : lanes) lane->moved(server);
}

// Chunk by chunk, while workers may ask for them already.
void ServerProcess::restore(std::size_t lane, std::size_t n) {
  cluster_.later(1 + cluster_.chance(reading_), *this, [this, lane, n] {
    const bool more = lanes[lane]->shard->restore(
        cluster_.resumed->step, n,
        [&](const params::Chunk& chunk, std::span<float> parameters, std::span<float> state) {
          readers_[lane]->read(chunk.offset, parameters, state);
        });
    if (more) return restore(lane, n + 1);
    --restoring_;
    lanes[lane]->on_restored();
  });
}

void ServerProcess::checkpoint_at(const wire::CheckpointAt& order) {
  if (!opened_) return early_.push_back(order);
  if (order.abandoned) {
    queue_.push_back({order.version, 0, {}});
    return cluster_.later(1, *this, [this] { write_next(); });
  }
  bool in_time = true;
  for (const auto& lane : lanes) in_time &= lane->shard->checkpoint_at(order.version, order.end);
  const wire::CheckpointAnswer answer{order.version, in_time, !ids_.empty()};
  cluster_.report(*this, [server = id.id, answer](Coordinator& c) { c.on_answer(server, answer); });
}

void ServerProcess::say_clock(const wire::PartitionClock& question) {
  const auto knows = [](const auto& lane) { return lane->shard->knows_clocks(); };
  if (!opened_ || restoring_ != 0 || !std::ranges::all_of(lanes, knows)) {
    return cluster_.later(5, *this, [this, question] { say_clock(question); });
  }
  wire::PartitionClock answer = question;
  answer.step = std::numeric_limits<Step>::max();
  for (const auto& lane : lanes) {
    lane->expect(question.worker, question.incarnation);
    for (std::uint32_t i = 0; i < question.count; ++i) {
      answer.step = std::min(answer.step, lane->shard->clock(question.first + i));
    }
  }
  cluster_.report(*this, [server = id.id, answer](Coordinator& c) { c.on_clock(server, answer); });
}

void ServerProcess::say_waiting() {
  if (!opened_) return;
  wire::Waiting waiting;
  for (const auto& lane : lanes) {
    waiting = lane->shard->waiting_for();
    if (!waiting.text.empty()) break;
  }
  cluster_.report(*this, [waiting](Coordinator& c) { c.on_waiting(waiting); });
}

// ---- the disk -----------------------------------------------------------------------------------

std::span<float> ServerProcess::room(std::size_t floats) {
  const std::size_t most = std::min(ids_.size(), 2 * lanes.size());
  if (rooms_ == most) {
    wanted_ = true;
    return {};
  }
  ++rooms_;
  return buffers_.emplace_back(floats);
}

void ServerProcess::ready(Version version, std::uint32_t chunk, std::span<float> room) {
  queue_.push_back({version, chunk, room});
  cluster_.later(1 + cluster_.chance(60), *this, [this] { write_next(); });
}

void ServerProcess::write_next() {
  const Item item = queue_.front();
  queue_.pop_front();
  if (item.room.empty()) return part_->abandon(item.version);
  part_->write(item.version, item.chunk, item.room);
  if (!alive) return;
  buffers_.remove_if([&](const auto& buffer) { return buffer.data() == item.room.data(); });
  --rooms_;
  if (!std::exchange(wanted_, false)) return;
  for (const auto& lane : lanes) lane->shard->on_room();
}

}  // namespace sheaf::simulation
