#include "worker/step/training_step.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "common/base/error.h"
#include "common/math/kernels.h"
#include "worker/step/pushed_nodes.h"

namespace sheaf::worker {

namespace {

constexpr std::size_t kWorkspaces = 2;  // one is computed while the other is in flight

}  // namespace

void TrainingStep::plan_workspaces(const params::ChunkMap& chunks,
                                   const compression::Compressor& compressor,
                                   const privacy::Mechanism& mechanism, bool synchronous,
                                   PushPull::Options& options) {
  const params::PartitionTree tree(options.partitions);
  const auto nodes = pushed_nodes(tree, options.hosted, compressor, mechanism, synchronous);
  // What may have to be sent again keeps its workspace until its step is acknowledged.
  const bool keeps = options.servers_return && synchronous;
  const bool rounds = compressor.factors() != nullptr;  // the gradients are wanted in the second
  options.workspaces = keeps || rounds ? nodes.size() : std::min(nodes.size(), kWorkspaces);
  options.synchronous = synchronous;
  if (!compressor.identity()) {
    options.workspace_bytes = chunks.size() * encoded_stride(chunks, compressor);
  }
}

TrainingStep::TrainingStep(const Parts& parts)
    : parts_(parts),
      gradient_(parts.model, parts.mechanism),
      rejects_(parts.non_finite == optimization::NonFinite::reject),
      tree_(parts.plan.partitions()),
      nodes_(
          pushed_nodes(tree_, parts.hosted, parts.compressor, parts.mechanism, parts.synchronous)),
      workspaces_(parts.exchange.workspaces()) {
  std::uint32_t widest = 1;
  for (const PartitionRange node : nodes_) widest = std::max(widest, node.count);
  const std::size_t depth = sum_depth(widest);
  const bool lossless = parts.compressor.identity();
  const std::size_t size = parts.model.layout().size();
  check(!gradient_.clips() || (!rejects_ && parts.local == nullptr),
        "clipped gradients are finite, and of one step");
  if (!lossless) encoded_chunk_bytes_ = encoded_stride(parts.chunks, parts.compressor);
  check(parts.residuals == nullptr || !lossless, "what loses nothing leaves nothing out");
  if (parts.residuals != nullptr) {
    const std::size_t largest = parts.chunks.largest();
    if (parts.estimates) {
      estimate_.emplace(parts.compressor, *parts.estimates, largest);
    } else if (const auto momentum = parts.compressor.momentum()) {
      momentum_.emplace(parts.compressor, momentum->factor, largest);
      most_norm_ = momentum->clip_norm / std::sqrt(parts.plan.partitions());
    } else {
      feedback_.emplace(parts.compressor, largest);
    }
  }
  for (std::size_t i = 0; i < workspaces_.size(); ++i) {
    Workspace& workspace = workspaces_[i];
    const std::span<std::byte> pushed = parts.exchange.workspace(i);
    workspace.own.reserve(depth);
    if (in_place()) {
      workspace.sums.emplace_back(reinterpret_cast<float*>(pushed.data()), size);
    } else {
      workspace.pushed = pushed;
    }
    while (workspace.sums.size() < depth) {
      workspace.sums.push_back(workspace.own.emplace_back(size).span());
    }
  }
  if (const compression::Factors* factors = parts.compressor.factors()) {
    check(feedback_ && parts.synchronous && !rejects_ && parts.local == nullptr &&
              !parts.mechanism.perturbs_at_worker() && !parts.mechanism.perturbs_at_server(),
          "factors are of gradients in bsp that need no noise, and what they lack is kept");
    rounds_.emplace(*factors, parts.seed);
  }
  if (parts.local != nullptr) replica_.emplace(parts.model, *parts.local, parts.seed);
  parts.exchange.on_resend(
      [this](Step step, std::uint32_t chunk, std::span<const std::uint32_t> missing) {
        resend(step, chunk, missing);
      });
}

void TrainingStep::run(Step step) {
  const auto began = std::chrono::steady_clock::now();
  if (parts_.saver != nullptr) parts_.saver->on_begin(step);
  step_ = step;
  pushed_ = 0;
  if (rounds_) return run_in_rounds();
  const auto has_examples = [&](PartitionRange node) { return examples(node) != 0; };
  // Behind its last push a chunk is asked for at once; where a node may push nothing, all of them
  // are at the end.
  const auto last =
      rejects_ ? nodes_.rend() : std::find_if(nodes_.rbegin(), nodes_.rend(), has_examples);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (i >= workspaces_.size()) parts_.exchange.wait_settled();  // its buffers are used again
    workspace_ = &workspaces_[i % workspaces_.size()];
    // Later nodes of this step wait until all before them are settled, and a sum may need them too.
    needed_back_ = (parts_.synchronous || parts_.drops) && nodes_.size() > workspaces_.size() &&
                   i + 1 < nodes_.size();
    last_node_ = last != nodes_.rend() && nodes_[i] == *last;
    contribute(nodes_[i]);
  }
  if (last == nodes_.rend()) {
    for (auto c = static_cast<std::uint32_t>(parts_.chunks.size()); c-- > 0;) {
      parts_.exchange.pull(step + 1, c);
    }
  }
  if (parts_.stand_in != nullptr) {
    own_pace_.add(std::chrono::steady_clock::now() - began);
    stand_in();
  } else {
    parts_.exchange.wait_settled();
  }
  again_bytes_.clear();
}

// Until the step is over. Its parameters stay here until the next step asks for the version after
// the next one.
void TrainingStep::stand_in() {
  constexpr Duration kLeast = std::chrono::milliseconds(5);  // a question is not worth less
  const Duration patience =
      std::max(kLeast, std::chrono::duration_cast<Duration>(parts_.patience * own_pace_.median()));
  TimePoint ask_at = std::chrono::steady_clock::now() + patience;
  std::optional<PartitionRange> share;  // to be computed
  while (!parts_.exchange.wait_over(step_ + 1, ask_at)) {
    while (!share) {
      const auto help = parts_.coordination.take_help();
      if (!help) break;
      if (help->step == step_) share = PartitionRange{help->first, help->count};
    }
    if (share && parts_.stand_in->compute(step_, *share)) share.reset();
    if (std::chrono::steady_clock::now() < ask_at) continue;
    if (!share) parts_.coordination.offer_help(step_);  // else it waits for its examples
    ask_at = std::chrono::steady_clock::now() + patience;
  }
}

void TrainingStep::pass(Step from, Step to) {
  for (step_ = from; step_ < to; ++step_) {
    // What others have computed they have reported, too.
    for (std::uint32_t p = parts_.hosted.first; p < parts_.hosted.end(); ++p) {
      parts_.batcher.next(step_, p);
      if (parts_.stand_in == nullptr) report(p, 0, 0);
    }
  }
}

std::uint64_t TrainingStep::examples(PartitionRange node) const {
  std::uint64_t total = 0;
  for (std::uint32_t p = node.first; p < node.end(); ++p) total += parts_.plan.count(step_, p);
  return total;
}

void TrainingStep::contribute(PartitionRange node) {
  if (rejects_ || most_norm_ > 0) return contribute_whole(node);
  node_ = node;
  node_examples_ = examples(node);
  pushed_from_ = parts_.chunks.size();
  if (node_examples_ != 0) {
    sum_node(node, 0, true);
  } else {
    skip(node);
    // An end without examples counts at once: not before the step has begun everywhere.
    parts_.exchange.wait_arrived(0, parts_.model.layout().size(), step_);
  }
  parts_.exchange.end(step_, node, node_examples_);
}

// Nothing of a partition leaves before all of it is known, to be finite, or no longer than it may
// be. So what is left out is left out by all chunks, and depends on step and parameters alone, not
// on who computes it.
void TrainingStep::contribute_whole(PartitionRange node) {
  node_ = node;
  const auto one = [this](std::uint32_t p, std::size_t depth) { return gather_leaf(p, depth); };
  node_examples_ = sum_over(tree_, node, 0, workspace_->sums, one);
  partition_ = node.first;
  depth_ = 0;
  if (node_examples_ == 0) {
    parts_.exchange.wait_arrived(0, parts_.model.layout().size(), step_);
  } else {
    for (auto c = static_cast<std::uint32_t>(parts_.chunks.size()); c-- > 0;) push_chunk(c);
  }
  parts_.exchange.end(step_, node, node_examples_);
}

std::uint64_t TrainingStep::gather_leaf(std::uint32_t partition, std::size_t depth) {
  streams_ = false;
  if (parts_.plan.count(step_, partition) == 0) {
    skip({partition, 1});
    return 0;
  }
  const Batch& batch = parts_.batcher.next(step_, partition);
  const std::span<float> into = workspace_->sums[depth];
  const double loss = compute(step_, partition, batch, into, this);
  const bool finite = !rejects_ || is_finite(loss, into);
  expect_finite(partition, loss);
  if (most_norm_ > 0) clip(batch.examples, into);
  report(partition, finite ? batch.examples : 0, finite ? loss : 0, !finite);
  return finite ? parts_.plan.count(step_, partition) : 0;
}

// The gradient is a sum over examples; what is bounded is its mean. One that is not finite stays
// so, and has no encoding.
void TrainingStep::clip(std::uint64_t examples, std::span<float> gradient) const {
  const double most = most_norm_ * static_cast<double>(examples);
  const double norm = std::sqrt(math::sum_squares(gradient));
  if (!(norm > most)) return;
  const auto factor = static_cast<float>(most / norm);
  for (float& value : gradient) value *= factor;
}

void TrainingStep::expect_finite(std::uint32_t partition, double loss) const {
  if (std::isfinite(loss) || parts_.non_finite != optimization::NonFinite::abort) return;
  fail(Fault::diverged, "the loss of partition {} is {}; lower {}", partition, loss,
       parts_.local != nullptr ? "consistency.inner.rate or optimizer.rate"
       : parts_.synchronous    ? "optimizer.rate, warm up, or set optimizer.clip_norm"
                               : "optimizer.rate or warm up");
}

// Leaves the sum over `node` in sums[depth], unless it streams: then push_chunk() adds the deeper
// sums chunk by chunk. The last partition of a pushed node `streams`: its
// backward pass completes the node's chunks one by one.
void TrainingStep::sum_node(PartitionRange node, std::size_t depth, bool streams) {
  if (node.count == 1) return leaf(node.first, depth, streams);
  const PartitionRange left = tree_.left(node);
  const PartitionRange right = tree_.right(node);
  const bool both = examples(left) != 0 && examples(right) != 0;
  if (examples(left) != 0) {
    sum_node(left, depth, streams && !both);
  } else {
    skip(left);
  }
  if (examples(right) == 0) return skip(right);
  sum_node(right, both ? depth + 1 : depth, streams);
  if (both && !streams) {
    math::add(workspace_->sums[depth + 1], workspace_->sums[depth]);
  }
}

// Passes over partitions that have used up this epoch; their batches are empty. It is said all the
// same: a row of metrics waits for all partitions.
void TrainingStep::skip(PartitionRange node) {
  for (std::uint32_t p = node.first; p < node.end(); ++p) {
    parts_.batcher.next(step_, p);
    report(p, 0, 0);
  }
}

void TrainingStep::report(std::uint32_t partition, std::uint64_t examples, double loss,
                          bool rejected) {
  parts_.coordination.report_loss({step_, partition, examples, loss, rejected},
                                  parts_.exchange.traffic());
}

void TrainingStep::leaf(std::uint32_t partition, std::size_t depth, bool streams) {
  partition_ = partition;
  depth_ = depth;
  streams_ = streams;
  const Batch& batch = parts_.batcher.next(step_, partition);
  const double loss = compute(step_, partition, batch, workspace_->sums[depth], this);
  expect_finite(partition, loss);
  if (gradient_.clips()) {  // neither the losses nor how many there are is for anybody
    report(partition, parts_.plan.count(step_, partition), std::nan(""));
  } else {
    report(partition, batch.examples, loss);
  }
}

// What this partition pushes for its examples. With an observer: parameters are waited for, and
// chunks go as they are done.
double TrainingStep::compute(Step step, std::uint32_t partition, const Batch& batch,
                             std::span<float> into, PassObserver* observer) {
  if (!replica_) {
    return gradient_.compute(parameters(step), batch, {parts_.seed, step, partition}, into,
                             observer);
  }
  if (observer != nullptr) observer->before_forward(0, into.size());
  const double loss =
      replica_->run(step, partition, parameters(step), batch, parts_.plan.batch(partition), into);
  if (observer != nullptr) observer->after_backward(0);
  return loss;
}

void TrainingStep::before_forward(std::size_t begin, std::size_t end) {
  parts_.exchange.wait_arrived(begin, end, step_);
}

void TrainingStep::after_backward(std::size_t begin) {
  if (!streams_) return;
  for (const std::size_t ready = parts_.chunks.first_at(begin); pushed_from_ > ready;) {
    push_chunk(static_cast<std::uint32_t>(--pushed_from_));
  }
  parts_.exchange.flush();
}

void TrainingStep::push_chunk(std::uint32_t chunk) {
  if (pushed_ == 0) parts_.coordination.await_release(step_);
  ++pushed_;
  const params::Chunk& c = parts_.chunks[chunk];
  for (std::size_t d = depth_; d > 0; --d) {
    math::add(workspace_->sums[d].subspan(c.offset, c.size),
              workspace_->sums[d - 1].subspan(c.offset, c.size));
  }
  std::span<std::byte> into;
  if (!parts_.compressor.identity()) {
    into = workspace_->pushed.subspan(chunk * encoded_chunk_bytes_, encoded_chunk_bytes_);
  } else if (!in_place()) {
    into = workspace_->pushed.subspan(c.offset * sizeof(float), c.bytes());
  }
  const auto payload =
      release(step_, chunk, workspace_->sums[0].subspan(c.offset, c.size), partition_, into);
  parts_.exchange.push(step_, chunk, node_, node_examples_, payload, needed_back_);
  if (chunk == 0 && parts_.mechanism.perturbs_at_worker()) {  // the last one of its partition
    const auto chunks = static_cast<std::uint32_t>(parts_.chunks.size());
    parts_.coordination.released(step_, partition_, chunks, std::exchange(digest_, {}));
  }
  if (last_node_) parts_.exchange.pull(step_ + 1, chunk);
}

// What leaves of a chunk: where it lies, or in `into` unless that is empty.
std::span<const std::byte> TrainingStep::release(Step step, std::uint32_t chunk,
                                                 std::span<float> sum, std::uint32_t partition,
                                                 std::span<std::byte> into) {
  const Clipped clipped = gradient_.chunk(sum);
  std::span<const std::byte> payload;
  if (parts_.mechanism.perturbs_at_server()) {
    payload = for_server(clipped, parts_.mechanism);
  } else {
    const Noised noised(clipped, parts_.mechanism, {step, partition, chunk});
    for (std::size_t i = 0; i < digest_.size(); ++i) digest_[i] ^= noised.digest()[i];
    if (!parts_.compressor.identity()) return encode(step, chunk, noised, partition, into);
    payload = std::as_bytes(noised.values());
  }
  if (into.empty()) return payload;
  std::ranges::copy(payload, into.begin());
  return into.first(payload.size());
}

// A server has part of what was pushed for a node (its partitions have moved in the meantime): the
// missing partitions are computed again, from the same parameters and examples, and pushed alone.
void TrainingStep::resend(Step step, std::uint32_t chunk, std::span<const std::uint32_t> missing) {
  check(parts_.residuals == nullptr,
        "what is pushed with feedback is one partition's: there or not there");
  const params::Chunk& c = parts_.chunks[chunk];
  if (again_gradient_.size() == 0) {
    again_gradient_ = AlignedBuffer<float>(parts_.model.layout().size());
    std::uint64_t most = 0;
    for (std::uint32_t p = 0; p < parts_.plan.partitions(); ++p) {
      most = std::max(most, parts_.plan.rows(p));
    }
    again_.inputs = AlignedBuffer<float>(most * parts_.model.schema().features);
    again_.targets = AlignedBuffer<float>(most * parts_.model.schema().targets);
  }
  for (const std::uint32_t partition : missing) {
    const std::uint64_t count = parts_.plan.count(step, partition);
    if (count == 0) {  // it was inside the node, but its own end frame has not been sent
      parts_.exchange.end(step, {partition, 1}, 0);
      continue;
    }
    parts_.fill(step, partition, again_);
    const double loss = compute(step, partition, again_, again_gradient_.span(), nullptr);
    if (rejects_ && !is_finite(loss, again_gradient_.span())) {
      parts_.exchange.end(step, {partition, 1}, 0);
      continue;
    }
    again_bytes_.emplace_back(std::max(c.bytes(), encoded_chunk_bytes_));
    parts_.exchange.push(step, chunk, {partition, 1}, count,
                         release(step, chunk, again_gradient_.span().subspan(c.offset, c.size),
                                 partition, again_bytes_.back()));
  }
}

}  // namespace sheaf::worker
