// What a shard says of itself: who is waited for, and how far it is.
#include <algorithm>
#include <limits>
#include <vector>

#include "common/base/error.h"
#include "server/shard/shard.h"

namespace sheaf::server {

wire::Waiting Shard::waiting_for() const {
  for (const ChunkState& state : states_) {
    if (!state.initialised()) return {fmt::format("initial values of chunk {}", state.id), {}};
    const bool held_up = synchronous_ ? complete(state) : !state.parked.empty();
    if (held_up && owes_checkpoint(state)) {
      return {fmt::format("the checkpoint of step {} waits for the disk", step_of(state)), {}};
    }
    const bool open = synchronous_ ? state.aggregator.arrivals().covered + state.held.size() != 0
                                   : !state.parked.empty() && !state.clocks.level();
    if (!open) continue;
    const Step step = step_of(state);
    wire::Waiting waiting;
    waiting.step = step;
    for (std::uint32_t p = 0; p < parts_.partitions; ++p) {
      if (!state.clocks.has(p, step)) waiting.partitions.push_back(p);
    }
    waiting.text = waiting.partitions.empty()
                       ? fmt::format("step scalars of step {} for chunk {}", step, state.id)
                       : fmt::format("step {} of chunk {} waits for partitions {}", step, state.id,
                                     fmt::join(waiting.partitions, ", "));
    return waiting;
  }
  return {};
}

void Shard::note_begun() const {
  for (const ChunkState& state : states_) {
    if (state.initialised()) note_begun(state);
  }
}

void Shard::note_begun(const ChunkState& state) const {
  constexpr auto kBegin = TraceEvent::Kind::begin;
  if (synchronous_) {
    return output_.note({kBegin, state.id, {0, parts_.partitions}, state.newest, 0});
  }
  for (std::uint32_t p = 0; p < parts_.partitions; ++p) {
    output_.note({kBegin, state.id, {p, 1}, state.clocks.slowest({p, 1}), 0});
  }
}

std::optional<Shard::ScalarWait> Shard::scalar_wait() const {
  for (const ChunkState& state : states_) {
    if (!needs_scalars() || !complete(state) || scalars_.total(state.newest)) continue;
    for (const std::uint32_t chunk : scalars_.missing(state.newest)) {
      const params::LaneId holder = parts_.shards.at(chunk);
      if (holder.server != parts_.lane.server)
        return ScalarWait{state.newest, holder.server, chunk};
    }
  }
  return std::nullopt;
}

Step Shard::step() const {
  Step oldest = states_.empty() ? 0 : step_of(states_.front());
  for (const ChunkState& state : states_) oldest = std::min(oldest, step_of(state));
  return oldest;
}

Step Shard::clock(std::uint32_t partition) const {
  Step clock = std::numeric_limits<Step>::max();  // without chunks
  for (const ChunkState& state : states_) {
    Step here = state.clocks.slowest({partition, 1});
    if (replication_) {
      here = replication_->clock(index_of(state), partition);
    } else if (parts_.snapshot && synchronous_) {
      here = state.newest;
    }
    clock = std::min(clock, here);
  }
  return clock;
}

bool Shard::knows_clocks() const {
  return std::ranges::none_of(states_, [](const auto& s) { return s.backup_unheard; });
}

}  // namespace sheaf::server
