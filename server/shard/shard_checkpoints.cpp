// What a shard hands over for checkpoints, and how it becomes what one of them kept.
#include <algorithm>
#include <vector>

#include "server/shard/blocks.h"
#include "server/shard/shard.h"

namespace sheaf::server {

bool Shard::checkpoint_at(Version version) {
  const auto passed = [](Version v) { return [v](const ChunkState& s) { return s.newest > v; }; };
  if (std::ranges::any_of(states_, passed(version))) return false;
  std::erase_if(checkpoints_, [&](Version v) { return std::ranges::all_of(states_, passed(v)); });
  checkpoints_.push_back(version);
  on_room();  // there may be: what this hands over goes on, too
  return true;
}

bool Shard::owes_checkpoint(const ChunkState& state) const {
  return state.initialised() && state.checkpointed <= state.newest &&
         std::ranges::find(checkpoints_, state.newest) != checkpoints_.end();
}

bool Shard::checkpoint(ChunkState& state) {
  if (!owes_checkpoint(state)) return true;
  const std::size_t runs = parts_.optimizer.state_per_parameter();
  const std::size_t size = state.chunk->size;
  const std::span<float> room = output_.checkpoint_room(size * (1 + runs));
  if (room.empty()) return false;
  std::ranges::copy(state.published[state.newest % 2].values, room.begin());
  const std::span<const float> from = state.optimizer_state.span();
  const auto copy = [&](std::size_t ours, std::size_t theirs, std::size_t count) {
    std::ranges::copy(from.subspan(ours, count), room.subspan(size + theirs).begin());
  };
  each_piece_of_state(*state.chunk, runs, copy);
  state.checkpointed = state.newest + 1;
  output_.checkpoint(state.newest, state.id, room);
  return true;
}

void Shard::on_room() {
  for (ChunkState& state : states_) {
    if (!owes_checkpoint(state)) continue;
    if (!checkpoint(state)) break;
    advance(state);  // its next step may have been waiting for this
  }
  acknowledge_returned();
}

bool Shard::restore(Version version, std::size_t n, const ReadChunk& read) {
  if (n >= states_.size()) return false;
  const std::size_t runs = parts_.optimizer.state_per_parameter();
  ChunkState& state = states_[n];
  std::vector<float> plain(state.chunk->size * runs);
  read(*state.chunk, room(state, version), plain);
  const auto copy = [&](std::size_t ours, std::size_t theirs, std::size_t count) {
    std::ranges::copy(std::span(plain).subspan(theirs, count),
                      state.optimizer_state.span().subspan(ours).begin());
  };
  each_piece_of_state(*state.chunk, runs, copy);
  state.newest = version;
  state.checkpointed = version + 1;  // there is one
  answer_parked(state);
  return true;
}

}  // namespace sheaf::server
