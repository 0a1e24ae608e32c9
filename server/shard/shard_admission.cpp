// The part of a shard that knows which partitions a step goes without, and says so to other lanes.
// A word is a scalar beyond those of chunks: of P partitions, p: all of p is here, in the lane that
// the value names; P + p: p is in; 2 P: so many are in, and no more.
#include <algorithm>

#include "common/base/error.h"
#include "server/shard/shard.h"

namespace sheaf::server {

// A partition that was left behind may have passed over steps.
bool Shard::is_late(ChunkState& state, PartitionRange partitions, Step step) {
  const std::uint32_t partition = partitions.first;
  if (step < state.newest) {
    state.clocks.pass(partition, step + 1);
    return true;
  }
  state.clocks.pass(partition, step);
  return false;
}

void Shard::say_here(Step step, std::uint32_t partition) {
  const auto chunks = static_cast<std::uint32_t>(place_.size());
  const auto self = static_cast<std::uint32_t>(parts_.shards.index(parts_.lane));
  if (place_[0] < 0) return output_.share_scalar(step, chunks + partition, self);
  decide(step, partition, self);
}

// In the lane of the first chunk: all of a partition is in a lane.
void Shard::decide(Step step, std::uint32_t partition, std::uint32_t lane) {
  const std::uint32_t word = static_cast<std::uint32_t>(place_.size()) + parts_.partitions;
  if (!admission_.on_here(step, partition, lane)) return;
  output_.share_scalar(step, word + partition, 0);
  const auto count = admission_.close(step, parts_.gate);
  if (count) output_.share_scalar(step, word + parts_.partitions, *count);
  for (ChunkState& state : states_) add_admitted(state);
}

void Shard::on_admission(Step step, std::uint32_t word, double value) {
  const std::uint32_t partitions = parts_.partitions;
  if (word > 2 * partitions || !(value >= 0 && value <= 4096 * 64)) {
    fail(Fault::network, "scalar {} beyond those of chunks: found {}, expected 0..{}", word, value,
         2 * partitions);
  }
  const auto count = static_cast<std::uint32_t>(value);
  if (word < partitions) {
    if (place_[0] >= 0 && count < parts_.shards.lane_count()) decide(step, word, count);
    return;
  }
  if (word < 2 * partitions) {
    admission_.on_in(step, word - partitions);
  } else {
    admission_.on_closed(step, count);
  }
  for (ChunkState& state : states_) add_admitted(state);
}

void Shard::add_admitted(ChunkState& state) {
  const Step step = state.newest;
  std::erase_if(state.held, [&](Held& held) {
    if (!admission_.in(step, held.partition)) return false;
    state.aggregator.add({held.partition, 1}, held.examples, std::move(held.values));
    output_.note({TraceEvent::Kind::push, state.id, {held.partition, 1}, step, 0});
    return true;
  });
  if (admission_.complete(step, state.aggregator.arrivals().covered)) {
    // The others stand in the tree as if they had no examples.
    for (std::uint32_t p = 0; p < parts_.partitions; ++p) {
      if (admission_.in(step, p)) continue;
      state.aggregator.add({p, 1}, 0, {});
      if (state.id == 0) ++dropped_;
    }
  }
  advance(state);
}

}  // namespace sheaf::server
