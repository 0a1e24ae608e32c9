// What a shard keeps in its snapshot, how it goes on with another one's, and whom it tells when.
#include <algorithm>
#include <utility>

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
  parts_.snapshot.commit(n, state.newest);
}

// Sums that were under way are gone, and so is what was checkpointed or pulled: what could have
// been is taken to have been.
void Shard::adopt() {
  std::size_t found = 0;
  for (ChunkState& state : states_) {
    const std::size_t n = index_of(state);
    const auto newest = parts_.snapshot.newest(n);
    if (!newest) continue;
    ++found;
    state.newest = *newest;
    for (const Version version : {*newest, *newest - 1}) {  // of 0 there is none before
      if (!parts_.snapshot.has(n, version)) continue;
      state.published[version % 2].values = place_of(state, version);
    }
    if (synchronous_) {
      state.clocks.set_all(*newest);
    } else {
      state.clocks.read(parts_.snapshot.clocks(n, *newest));
      std::ranges::fill(state.read, *newest);
      state.pulled = state.clocks.fastest() + 1;
    }
  }
  // First values are sent again until they are committed; steps have begun when all chunks have.
  const bool begun = std::ranges::any_of(states_, [](const auto& s) { return s.newest != 0; });
  if (begun && found != states_.size()) {
    fail(Fault::checkpoint, "the snapshot in memory has {} of {} chunks", found, states_.size());
  }
}

void Shard::acknowledge_owed(ChunkState& state) {
  for (const Owed& owed : std::exchange(state.owed, {})) {
    acknowledge(owed.session, owed.header, owed.answer, owed.status);
  }
  std::erase_if(ends_, [&](const Owed& end) {
    const auto has = [&](const ChunkState& s) { return committed(s, end.header.step); };
    if (!std::ranges::all_of(states_, has)) return false;
    acknowledge(end.session, end.header, end.answer);
    return true;
  });
}

void Shard::acknowledge_end(SessionId session, const wire::Header& header) {
  const auto has = [&](const ChunkState& s) { return committed(s, header.step); };
  if (std::ranges::all_of(states_, has)) {
    return acknowledge(session, header, wire::FrameType::end_ack);
  }
  ends_.push_back({session, header, wire::FrameType::end_ack});
}

}  // namespace sheaf::server
