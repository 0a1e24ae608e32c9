// What a shard has a backup keep, and how it becomes what a backup has kept.
#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "server/shard/shard.h"

namespace sheaf::server {

void Shard::begin_replication() {
  if (!parts_.replicated) return;
  std::vector<Replication::Chunk> chunks;
  for (const ChunkState& state : states_) chunks.push_back({state.id, state.chunk->size});
  const CopyShape shape{parts_.optimizer.state_per_parameter(),
                        synchronous_ ? 0 : parts_.partitions, parts_.pull_feedback};
  replication_.emplace(chunks, shape,
                       [this](std::size_t n, ChunkCopy& into) { fill(states_[n], into); });
}

void Shard::fill(ChunkState& state, ChunkCopy& copy) {
  copy.version = state.newest;
  copy.holds = true;
  copy.has_before = state.newest != 0 && !state.published[(state.newest - 1) % 2].values.empty();
  for (const Version version : {state.newest, state.newest - 1}) {
    if (version != state.newest && !copy.has_before) continue;
    const Published& published = state.published[version % 2];
    std::ranges::copy(published.values, copy.at(version).begin());
    std::ranges::copy(published.view, copy.view(version).begin());
  }
  std::ranges::copy(optimizer_state(state, state.newest), copy.state.span().begin());
  if (!copy.clocks.empty()) state.clocks.write(copy.clocks);
  copy.scalar = scalar_of(state.newest);
}

void Shard::replicate_whole(const ChunkState& state) {
  if (!replication_) return;
  replication_->copy(index_of(state));
  output_.backup_waits();
}

void Shard::on_backup() {
  replication_->on_connected();
  for (const ChunkState& state : states_) {
    if (state.initialised()) replication_->copy(index_of(state));
  }
}

// The first answer about a chunk is to a copy of all that it had.
void Shard::on_replicated(const wire::Header& header) {
  ChunkState& state = states_[replication_->on_replicated(header)];
  state.backup_unheard = false;
  acknowledge_owed(state);
  if (state.newest == 0) answer_parked(state);
  output_.backup_answered();
}

// Where the process before this one has shared its parameters, its newest version but one or the
// newest lies there still, and workers may be reading what it wrote after that. Another server of
// the host may share, and that process not have: then something else lies there, which nobody
// reads.
bool Shard::lies_in_shared(const ChunkState& state, const ChunkCopy& copy) const {
  const std::span<const float> shared = parts_.shared[copy.version % 2];
  if (shared.empty()) return false;
  const auto there = std::as_bytes(shared.subspan(state.chunk->offset, state.chunk->size));
  return std::ranges::equal(there, std::as_bytes(copy.at(copy.version)));
}

void Shard::adopt(std::uint32_t chunk, const ChunkCopy& copy) {
  ChunkState& state = states_[static_cast<std::size_t>(place_[chunk])];
  const Version before = copy.version - 1;
  if (lies_in_shared(state, copy)) {
    for (const Version version : {copy.version, before}) {
      if (version == before && !copy.has_before) continue;
      state.published[version % 2].values = place_of(state, version);
    }
  } else {
    for (const Version version : {before, copy.version}) {
      if (version == before && !copy.has_before) continue;
      std::ranges::copy(copy.at(version), room(state, version).begin());
      if (!parts_.pull_feedback) continue;
      std::ranges::copy(copy.view(version), view_room(state, version).begin());
    }
  }
  if (parts_.snapshot) parts_.snapshot.open(index_of(state), copy.version);
  std::ranges::copy(copy.state.span(), optimizer_state(state, copy.version).begin());
  if (synchronous_) {
    state.clocks.set_all(copy.version);
  } else {
    state.clocks.read(copy.clocks);
  }
  know_scalar(copy.version, copy.scalar);
  go_on(state, copy.version);
  commit(state);  // the newest first: there is no state of the version before
  if (parts_.snapshot && copy.has_before) parts_.snapshot.commit(index_of(state), before);
  replication_->begin_at(index_of(state), copy.version + 1, state.clocks);
  note_begun(state);
}

void Shard::on_adopted() {
  check_complete("the replica");
  replication_->on_connected();
}

// What could have been checkpointed or pulled of it is taken to have been.
void Shard::go_on(ChunkState& state, Version newest) {
  state.newest = newest;
  if (synchronous_) return;
  std::ranges::fill(state.read, newest);
  state.pulled = state.clocks.fastest() + 1;
}

// First values are sent again until they are acknowledged; steps have begun when all chunks have.
// A chunk that was not restored, or whose copy was still on its way, has no acknowledged step.
void Shard::check_complete(const char* what) const {
  if (parts_.restores_rest) return;
  const auto found = std::ranges::count_if(states_, [](const auto& s) { return s.initialised(); });
  const bool begun = std::ranges::any_of(states_, [](const auto& s) { return s.newest != 0; });
  if (begun && static_cast<std::size_t>(found) != states_.size()) {
    fail(Fault::checkpoint, "{} has {} of {} chunks", what, found, states_.size());
  }
}

}  // namespace sheaf::server
