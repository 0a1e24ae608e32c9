// The part of a shard that waits for a figure of the whole gradient, where a step needs one: the
// sum of all squares, of which each chunk says its own to all lanes of all servers.
//
// A server that goes on in another one's place knows what its predecessor's steps were taken with,
// and no more; and of what was said to that one nothing. So whoever has a new neighbour says again
// what it knows: of a step that it has taken, or could, the sum; else what its own chunks have. All
// pushes of a step that no chunk has taken are sent again, so that their squares are worked out
// again, to the same bits; if some chunk has taken it, its lane says the sum.
#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "common/math/kernels.h"
#include "server/chunk/blocks.h"
#include "server/shard/shard.h"

namespace sheaf::server {

void Shard::on_scalar(Step step, std::uint32_t chunk, double value) {
  if (chunk < place_.size()) {
    scalars_.add(step, chunk, value);
  } else if (chunk == total_word()) {
    scalars_.add_total(step, value);
  } else if (drops_) {
    on_admission(step, chunk - static_cast<std::uint32_t>(place_.size()), value);
    return acknowledge_returned();
  } else {
    fail(Fault::network, "scalar of chunk {}, expected 0..{}", chunk, place_.size() - 1);
  }
  if (!scalars_.total(step)) return;
  for (ChunkState& state : states_) {
    if (state.newest == step) advance(state);
  }
  acknowledge_returned();
}

void Shard::advance(ChunkState& state, std::uint32_t partition) {
  if (!complete(state)) return;
  if (!needs_scalars()) return apply(state, partition, 1);

  const Step step = state.newest;
  if (scalars_.value(step, state.id)) {
    const auto total = scalars_.total(step);
    if (total) apply(state, partition, clip_scale(*total, state.aggregator.examples()));
    return;
  }
  // Aggregated, but the norm also needs what other lanes hold: share ours and come back with
  // theirs.
  double squares = 0;
  for (std::size_t at = 0; at < state.chunk->size; at += kBlock) {
    const std::size_t count = std::min(kBlock, state.chunk->size - at);
    squares += math::sum_squares(state.aggregator.sum(at, count, scratch_.span()));
  }
  output_.share_scalar(step, state.id, squares);
  on_scalar(step, state.id, squares);
}

// Squares of floats do not overflow in doubles: their sum is finite if and only if the gradient is.
std::optional<double> Shard::clip_scale(double squares, std::uint64_t examples) const {
  if (!std::isfinite(squares)) {
    return parts_.skip_non_finite ? std::nullopt : std::optional(1.0);  // apply() says what is bad
  }
  const double norm = std::sqrt(squares) / static_cast<double>(examples);
  return parts_.clip_norm != 0 && norm > parts_.clip_norm ? parts_.clip_norm / norm : 1;
}

void Shard::share_scalars() {
  if (!needs_scalars()) return;
  for (const Step step : scalars_.open_steps()) {
    if (const auto total = scalars_.total(step)) {
      output_.share_scalar(step, total_word(), *total);
      continue;
    }
    for (const ChunkState& state : states_) {
      const auto value = scalars_.value(step, state.id);
      if (value) output_.share_scalar(step, state.id, *value);
    }
  }
}

std::uint32_t Shard::total_word() const {
  return static_cast<std::uint32_t>(place_.size()) + 2 * parts_.partitions + 1;
}

double Shard::scalar_of(Version version) const {
  if (!needs_scalars() || version == 0) return kNoScalar;
  return scalars_.total(version - 1).value_or(kNoScalar);
}

void Shard::know_scalar(Version version, double scalar) {
  if (needs_scalars() && version != 0 && !(scalar < 0)) scalars_.add_total(version - 1, scalar);
}

}  // namespace sheaf::server
