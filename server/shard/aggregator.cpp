#include "server/shard/aggregator.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/math/kernels.h"

namespace sheaf::server {

Aggregator::Aggregator(std::uint32_t partitions, std::size_t elements, BufferPool& pool)
    : tree_(partitions), elements_(elements), pool_(&pool) {
  pending_.reserve(partitions / 2 + 2);
}

// One per unfinished pair; at the end the two halves.
std::size_t Aggregator::most_buffers(std::uint32_t partitions) {
  return std::max<std::size_t>(std::min(partitions, 2U), (partitions + 1) / 2);
}

// IEEE addition commutes: whichever of the two may be written takes the sum.
Buffer Aggregator::sum_of(Buffer a, Buffer b) {
  if (!a) return b;
  if (!b) return a;
  if (a.lent()) std::swap(a, b);
  if (a.lent()) {
    Buffer sum = pool_->take();
    math::sum(a.floats(elements_), b.floats(elements_), sum.floats(elements_));
    return sum;
  }
  math::add(b.floats(elements_), a.floats(elements_));
  return a;
}

void Aggregator::add(PartitionRange node, std::uint64_t examples, Buffer values) {
  check(tree_.is_node(node) && std::ranges::none_of(pending_,
                                                    [&](const Pending& p) {
                                                      return p.node.first < node.end() &&
                                                             node.first < p.node.end();
                                                    }),
        "a push is one uncovered node");
  covered_ += node.count;

  while (!tree_.is_root(node) && !tree_.is_root(tree_.parent(node))) {
    const PartitionRange sibling = tree_.sibling(node);
    const auto other = std::ranges::find(pending_, sibling, &Pending::node);
    if (other == pending_.end()) break;
    values = sum_of(std::move(other->values), std::move(values));
    examples += other->examples;
    node = tree_.parent(node);
    if (other != pending_.end() - 1) *other = std::move(pending_.back());
    pending_.pop_back();
  }
  pending_.push_back({node, examples, std::move(values)});
}

// Decoded to zeros or to a sum that began with zeros, a contribution gives the same bits: no such
// sum is -0, so it does not matter whether it met +0 or -0 first.
void Aggregator::add_encoded(PartitionRange node, std::uint64_t examples,
                             const std::function<void(std::span<float>)>& decode_add) {
  if (!tree_.is_root(node)) {
    const auto other = std::ranges::find(pending_, tree_.sibling(node), &Pending::node);
    if (other != pending_.end() && other->values && !other->values.lent()) {
      decode_add(other->values.floats(elements_));
      return add(node, examples, Buffer());
    }
  }
  Buffer values = pool_->take();
  std::ranges::fill(values.floats(elements_), 0.0F);
  decode_add(values.floats(elements_));
  add(node, examples, std::move(values));
}

Arrivals Aggregator::arrivals() const { return {covered_, tree_.partitions()}; }

std::uint64_t Aggregator::examples() const {
  std::uint64_t examples = 0;
  for (const Pending& part : pending_) examples += part.examples;
  return examples;
}

std::span<const float> Aggregator::sum(std::size_t at, std::size_t count,
                                       std::span<float> scratch) const {
  std::span<const float> sum;
  for (const Pending& half : pending_) {
    if (!half.values) continue;
    const auto values = half.values.floats(elements_).subspan(at, count);
    if (sum.empty()) {
      sum = values;
    } else {
      math::sum(sum, values, scratch.first(count));
      sum = scratch.first(count);
    }
  }
  return sum;
}

void Aggregator::reset() {
  covered_ = 0;
  pending_.clear();
}

}  // namespace sheaf::server
