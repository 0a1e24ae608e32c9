// A step in which chunks are pushed as factors (common/compression/factors.h). Its two rounds are
// pushes and pulls of chunks like any other, so that coverage, versions and recovery are those of
// all chunks; only their order is another one:
//
//   gradients, with what was left out → left factors pushed, and pulled summed → chunks pushed by
//   them, and right factors → everything else pulled
//
// Everybody pushes all of the first round before he waits for it, so nobody waits for himself.
#include <algorithm>

#include "common/base/error.h"
#include "common/math/kernels.h"
#include "worker/step/training_step.h"

namespace sheaf::worker {

void TrainingStep::run_in_rounds() {
  const compression::Factors& f = rounds_->factors();
  const std::size_t model = parts_.model.layout().size();
  const std::size_t left = f.parameters, right = f.right_begin();
  const auto each_node = [&](auto body) {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      workspace_ = &workspaces_[i];
      node_ = nodes_[i];
      node_examples_ = examples(node_);
      partition_ = node_.first;
      body();
    }
  };
  parts_.exchange.wait_arrived(right, f.end(), step_);
  rounds_->begin(step_, parts_.exchange.parameters(step_).subspan(right, f.right_floats));
  each_node([&] {
    if (node_examples_ == 0) {
      skip(node_);
      parts_.exchange.wait_arrived(0, model, step_);  // see contribute()
      return parts_.exchange.end(step_, node_, 0);
    }
    gather_for_rounds(partition_);
    push_floats(left, right, rounds_->left(parts_.chunks, workspace_->sums[0]));
    parts_.exchange.flush();
  });
  const std::size_t first_left = parts_.chunks.first_at(left);
  const std::size_t first_right = parts_.chunks.first_at(right);
  for (std::size_t c = first_left; c < first_right; ++c) {
    parts_.exchange.pull(step_ + 1, static_cast<std::uint32_t>(c));
  }
  parts_.exchange.wait_arrived(left, right, step_ + 1);
  rounds_->average(parts_.exchange.parameters(step_ + 1).subspan(left, f.left_floats));
  each_node([&] {
    if (node_examples_ == 0) return;
    for (std::size_t c = first_left; c-- > 0;) push_in_rounds(static_cast<std::uint32_t>(c));
    push_floats(right, f.end(), rounds_->right());
    parts_.exchange.end(step_, node_, node_examples_);
  });
  for (std::size_t c = parts_.chunks.size(); c-- > 0;) {
    const bool has = c >= first_left && c < first_right;
    if (!has) parts_.exchange.pull(step_ + 1, static_cast<std::uint32_t>(c));
  }
  parts_.exchange.wait_settled();
}

// Leaves the gradient and what was left out before in sums[0].
void TrainingStep::gather_for_rounds(std::uint32_t partition) {
  streams_ = false;  // nothing is pushed before all of it is there
  const Batch& batch = parts_.batcher.next(step_, partition);
  const std::span<float> values = workspace_->sums[0];
  const double loss = compute(step_, partition, batch, values, this);
  expect_finite(partition, loss);
  report(partition, batch.examples, loss);
  const ResidualSlots& residuals = parts_.residuals->of(partition);
  const auto parameters = static_cast<std::uint32_t>(parts_.chunks.first_at(values.size()));
  for (std::uint32_t c = 0; c < parameters; ++c) {
    const params::Chunk& chunk = parts_.chunks[c];
    math::add(residuals.before(c, step_), values.subspan(chunk.offset, chunk.size));
  }
}

// Of elements [begin, end) of the job's vector, which are averaged.
void TrainingStep::push_floats(std::size_t begin, std::size_t end, std::span<const float> values) {
  for (std::size_t c = parts_.chunks.first_at(begin);
       c < parts_.chunks.size() && parts_.chunks[c].offset < end; ++c) {
    const params::Chunk& chunk = parts_.chunks[c];
    const auto id = static_cast<std::uint32_t>(c);
    const auto into = workspace_->pushed.subspan(c * encoded_chunk_bytes_, encoded_chunk_bytes_);
    const std::size_t size =
        parts_.compressor.encode(values.subspan(chunk.offset - begin, chunk.size),
                                 {parts_.seed, step_, partition_, id}, into);
    parts_.exchange.push(step_, id, node_, node_examples_, into.first(size));
  }
}

// Whoever was this worker before has pushed the same bytes, if any: they are a function of what was
// pulled and what was left out before the step.
void TrainingStep::push_in_rounds(std::uint32_t c) {
  const params::Chunk& chunk = parts_.chunks[c];
  const std::span<const float> values = workspace_->sums[0].subspan(chunk.offset, chunk.size);
  const auto into = workspace_->pushed.subspan(c * encoded_chunk_bytes_, encoded_chunk_bytes_);
  const compression::EncodingKey key{parts_.seed, step_, partition_, c};
  const compression::FactoredChunk* const factored = rounds_->factors().find(c);
  const auto payload =
      into.first(factored != nullptr ? rounds_->encode(*factored, values, into)
                                     : parts_.compressor.encode(values, key, into));
  ResidualSlots& residuals = parts_.residuals->of(partition_);
  feedback_->leave_out(values, key, payload, residuals.open(c, step_));
  residuals.commit(c, step_, payload);
  parts_.exchange.push(step_, c, node_, node_examples_, payload);
}

}  // namespace sheaf::worker
