#include "worker/step/stand_in.h"

#include <algorithm>
#include <utility>

#include "worker/step/pushed_nodes.h"
#include "worker/step/release.h"

namespace sheaf::worker {

StandIn::StandIn(const Parts& parts)
    : parts_(parts), gradient_(parts.model, parts.mechanism), tree_(parts.plan.partitions()) {}

bool StandIn::compute(Step step, PartitionRange share) {
  const PartitionSet* const data = parts_.shares.find(share);
  if (data == nullptr) return false;
  const auto fill =
      fills_.try_emplace(share.first, training_batches(*data, parts_.plan, parts_.normaliser));
  fill_ = &fill.first->second;
  if (std::exchange(step_, step) != step) used_ = 0;  // what was pushed before is settled
  over_ = false;
  auto nodes = pushed_nodes(tree_, share, parts_.compressor, parts_.mechanism, true);
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    Pushed& pushed = room();
    std::vector<std::span<float>> sums = {pushed.sum.span()};
    while (sums.size() < sum_depth(node->count)) {
      if (deeper_.size() < sums.size()) deeper_.emplace_back(parts_.model.layout().size());
      sums.push_back(deeper_[sums.size() - 1].span());
    }
    const auto one = [&](std::uint32_t partition, std::size_t depth) {
      return leaf(step, partition, sums[depth]);
    };
    const std::uint64_t examples = sum_over(tree_, *node, 0, sums, one);
    if (over_) return true;
    push(step, *node, examples, pushed);
  }
  ++computed_;
  return true;
}

StandIn::Pushed& StandIn::room() {
  if (batch_.inputs.size() == 0) {
    std::uint64_t most = 0;
    for (std::uint32_t p = 0; p < parts_.plan.partitions(); ++p) {
      most = std::max(most, parts_.plan.rows(p));
    }
    batch_ = make_batch(most, parts_.model.schema());
  }
  if (used_ == pushed_.size()) {
    pushed_.push_back(std::make_unique<Pushed>());
    pushed_.back()->sum = AlignedBuffer<float>(parts_.model.layout().size());
    if (!parts_.compressor.identity()) {
      pushed_.back()->encoded.resize(parts_.chunks.size() *
                                     encoded_stride(parts_.chunks, parts_.compressor));
    }
  }
  return *pushed_[used_++];
}

std::uint64_t StandIn::leaf(Step step, std::uint32_t partition, std::span<float> into) {
  over_ = over_ || parts_.exchange.all_arrived(step + 1);
  if (over_) return 0;
  wire::StepLoss loss{step, partition, parts_.plan.count(step, partition), 0, false};
  if (loss.examples != 0) {
    (*fill_)(step, partition, batch_);
    loss.loss_sum = gradient_.compute(parts_.exchange.parameters(step), batch_,
                                      {parts_.seed, step, partition}, into, nullptr);
    // What is not finite and not rejected here is found where it is applied.
    if (parts_.non_finite == optimization::NonFinite::reject && !is_finite(loss.loss_sum, into)) {
      loss = {step, partition, 0, 0, true};
    }
  }
  parts_.coordination.report_loss(loss, parts_.exchange.traffic());
  return loss.examples;
}

void StandIn::push(Step step, PartitionRange node, std::uint64_t examples, Pushed& pushed) {
  const std::size_t stride = pushed.encoded.size() / parts_.chunks.size();
  for (auto c = static_cast<std::uint32_t>(examples == 0 ? 0 : parts_.chunks.size()); c-- > 0;) {
    const params::Chunk& chunk = parts_.chunks[c];
    const Noised values(gradient_.chunk(pushed.sum.span().subspan(chunk.offset, chunk.size)),
                        parts_.mechanism, {step, node.first, c});
    std::span<const std::byte> payload = std::as_bytes(values.values());
    if (!parts_.compressor.identity()) {
      const auto into = std::span(pushed.encoded).subspan(c * stride, stride);
      payload = into.first(
          parts_.compressor.encode(values.values(), {parts_.seed, step, node.first, c}, into));
    }
    parts_.exchange.push(step, c, node, examples, payload);
  }
  parts_.exchange.end(step, node, examples);
}

}  // namespace sheaf::worker
