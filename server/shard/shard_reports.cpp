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

std::optional<Shard::ScalarWait> Shard::scalar_wait() const {
  for (const ChunkState& state : states_) {
    if (!needs_scalars() || !complete(state)) continue;
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
    const Step here = state.clocks.slowest({partition, 1});
    clock = std::min(clock, parts_.snapshot && synchronous_ ? state.newest : here);
  }
  return clock;
}

}  // namespace sheaf::server
