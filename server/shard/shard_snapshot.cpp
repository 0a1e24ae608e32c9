// What a shard keeps in its snapshot, how it goes on with another one's, and whom it tells when.
#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "server/shard/shard.h"

namespace sheaf::server {

Snapshot::Shape Shard::snapshot_shape(const ShardParts& parts) {
  Snapshot::Shape shape;
  for (const std::uint32_t id : parts.shards.chunks_of(parts.lane)) {
    shape.chunks.push_back(parts.chunks[id].size);
  }
  shape.runs = parts.optimizer.state_per_parameter();
  shape.clocks = parts.gate.synchronous() ? 0 : parts.partitions;
  shape.parameters = parts.shared[0].empty();
  shape.views = parts.pull_feedback;
  shape.scalar = parts.clip_norm != 0 || parts.skip_non_finite;
  return shape;
}

std::span<float> Shard::optimizer_state(ChunkState& state, Version version) {
  if (parts_.snapshot) return parts_.snapshot.state(index_of(state), version);
  return state.optimizer_state.span();
}

void Shard::commit(const ChunkState& state) {
  if (!parts_.snapshot) return;
  const std::size_t n = index_of(state);
  if (!synchronous_) state.clocks.write(parts_.snapshot.clocks(n, state.newest));
  std::ranges::fill(parts_.snapshot.scalar(n, state.newest), scalar_of(state.newest));
  parts_.snapshot.commit(n, state.newest);
}

// What the backup is known to have, of a chunk whose newest version it may know nothing of yet: all
// but the last step of each partition, since nobody pushes a step before the one before it has been
// acknowledged.
void Shard::begin_at_snapshot(ChunkState& state) {
  if (!replication_) return;
  state.backup_unheard = true;
  std::vector<Step> steps(parts_.partitions);
  state.clocks.write(steps);
  for (Step& step : steps) step -= std::min<Step>(step, 1);
  PartitionClocks acknowledged(parts_.partitions);
  acknowledged.read(steps);
  replication_->begin_at(index_of(state), state.newest, acknowledged);
}

// Sums that were under way are gone.
void Shard::adopt() {
  for (ChunkState& state : states_) {
    const std::size_t n = index_of(state);
    const auto newest = parts_.snapshot.newest(n);
    if (!newest) continue;
    for (const Version version : {*newest, *newest - 1}) {  // of 0 there is none before
      if (!parts_.snapshot.has(n, version)) continue;
      state.published[version % 2].values = place_of(state, version);
      if (parts_.pull_feedback) view_room(state, version);
    }
    if (synchronous_) {
      state.clocks.set_all(*newest);
    } else {
      state.clocks.read(parts_.snapshot.clocks(n, *newest));
    }
    for (const double scalar : parts_.snapshot.scalar(n, *newest)) know_scalar(*newest, scalar);
    go_on(state, *newest);
    begin_at_snapshot(state);
  }
  check_complete("the snapshot in memory");
}

void Shard::settle(ChunkState& state, SessionId session, const wire::Header& header,
                   wire::FrameType answer, wire::PushStatus status) {
  if (committed(state, header)) return acknowledge(session, header, answer, status);
  state.owed.push_back({session, header, answer, status});
}

void Shard::acknowledge_owed(ChunkState& state) {
  std::erase_if(state.owed, [&](const Owed& owed) {
    if (!committed(state, owed.header)) return false;
    acknowledge(owed.session, owed.header, owed.answer, owed.status);
    return true;
  });
  std::erase_if(ends_, [&](const Owed& end) {
    const auto has = [&](const ChunkState& s) { return committed(s, end.header); };
    if (!std::ranges::all_of(states_, has)) return false;
    acknowledge(end.session, end.header, end.answer);
    return true;
  });
}

void Shard::acknowledge_end(SessionId session, const wire::Header& header) {
  const auto has = [&](const ChunkState& s) { return committed(s, header); };
  if (std::ranges::all_of(states_, has)) {
    return acknowledge(session, header, wire::FrameType::end_ack);
  }
  ends_.push_back({session, header, wire::FrameType::end_ack});
}

}  // namespace sheaf::server
