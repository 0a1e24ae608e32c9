// What a shard hands over for checkpoints, and how it becomes what one of them kept.
#include <algorithm>
#include <vector>

#include "server/chunk/blocks.h"
#include "server/shard/shard.h"

namespace sheaf::server {

bool Shard::checkpoint_at(Step step, bool end) {
  if (std::ranges::find(checkpoints_, step) != checkpoints_.end()) return true;
  // Who has parameters for a step may push it; in bsp a chunk waits before it applies it.
  const auto may_have_passed = [&](const ChunkState& s) {
    if (synchronous_) return s.newest > step;
    return s.clocks.any_beyond(step) || (s.pulled > step && !end);
  };
  if (std::ranges::any_of(states_, may_have_passed)) return false;
  std::erase_if(checkpoints_, [&](Step wanted) {
    return std::ranges::all_of(states_, [&](const ChunkState& s) { return step_of(s) > wanted; });
  });
  checkpoints_.push_back(step);
  on_room();  // there may be: what this hands over goes on, too
  return true;
}

bool Shard::owes_checkpoint(const ChunkState& state) const {
  if (!state.initialised() || (!synchronous_ && !state.clocks.level())) return false;
  const Step step = step_of(state);
  return state.checkpointed <= step && std::ranges::find(checkpoints_, step) != checkpoints_.end();
}

// Where pushes are steps of their own nobody goes on behind a step that is to be saved, until every
// partition has finished the steps before it: then the chunk has all of those and nothing else.
bool Shard::waits_for_checkpoint(const ChunkState& state, Step clock) const {
  if (synchronous_) return false;
  return std::ranges::any_of(checkpoints_, [&](Step wanted) {
    return wanted <= clock && state.checkpointed <= wanted && !state.clocks.any_beyond(wanted);
  });
}

bool Shard::checkpoint(ChunkState& state) {
  if (!owes_checkpoint(state)) return true;
  const std::size_t runs = parts_.optimizer.state_per_parameter();
  const std::size_t size = state.chunk->size;
  const std::span<float> room = output_.checkpoint_room(size * (1 + runs + view_runs()));
  if (room.empty()) return false;
  std::ranges::copy(state.published[state.newest % 2].values, room.begin());
  const std::span<const float> from = optimizer_state(state, state.newest);
  const auto copy = [&](std::size_t ours, std::size_t theirs, std::size_t count) {
    std::ranges::copy(from.subspan(ours, count), room.subspan(size + theirs).begin());
  };
  each_piece_of_state(*state.chunk, runs, copy);
  if (parts_.pull_feedback) {
    const std::span<const float> view = state.published[state.newest % 2].view;
    std::ranges::copy(view, room.subspan(size * (1 + runs)).begin());
  }
  state.checkpointed = step_of(state) + 1;
  output_.checkpoint(step_of(state), state.id, room);
  return true;
}

void Shard::on_room() {
  for (ChunkState& state : states_) {
    if (!owes_checkpoint(state)) continue;
    if (!checkpoint(state)) break;
    advance(state);  // its next step may have been waiting for this
    answer_parked(state);
  }
  acknowledge_returned();
}

bool Shard::restore(Step step, std::size_t n, const ReadChunk& read) {
  if (n >= states_.size()) return false;
  const std::size_t runs = parts_.optimizer.state_per_parameter();
  ChunkState& state = states_[n];
  if (state.initialised()) {  // by first values, or by what a server before us has left
    state.checkpointed = std::max(state.checkpointed, step + 1);
    return true;
  }
  std::vector<float> plain(state.chunk->size * (runs + view_runs()));
  state.newest = synchronous_ ? step : step * parts_.partitions;  // one for each push
  read(*state.chunk, room(state, state.newest), plain);
  const std::span<float> into = optimizer_state(state, state.newest);
  const auto copy = [&](std::size_t ours, std::size_t theirs, std::size_t count) {
    std::ranges::copy(std::span(plain).subspan(theirs, count), into.subspan(ours).begin());
  };
  each_piece_of_state(*state.chunk, runs, copy);
  if (parts_.pull_feedback) {
    std::ranges::copy(std::span(plain).subspan(state.chunk->size * runs),
                      view_room(state, state.newest).begin());
  }
  state.clocks.set_all(step);
  commit(state);
  std::ranges::fill(state.read, state.newest);
  state.checkpointed = step + 1;  // there is one
  if (replication_) replication_->begin_at(n, state.newest + 1, state.clocks);
  replicate_whole(state);
  answer_parked(state);
  return true;
}

}  // namespace sheaf::server
