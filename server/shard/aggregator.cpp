#include "server/shard/aggregator.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/math/kernels.h"

namespace sheaf::server {

Aggregator::Aggregator(std::uint32_t partitions, std::size_t elements)
    : tree_(partitions), elements_(elements), covered_(partitions) {
  pending_.reserve(partitions / 2 + 2);
}

Aggregator::Offer Aggregator::offer(PartitionRange node) const {
  std::uint32_t covered = 0;
  for (std::uint32_t p = node.first; p < node.end(); ++p) covered += covered_.test(p) ? 1U : 0U;
  if (covered == 0) return Offer::disjoint;
  return covered == node.count ? Offer::contained : Offer::overlapping;
}

void Aggregator::add(PartitionRange node, std::uint64_t examples, Buffer values) {
  check(tree_.is_node(node) && offer(node) == Offer::disjoint, "a push is one uncovered node");
  for (std::uint32_t p = node.first; p < node.end(); ++p) covered_.set(p);

  while (!tree_.is_root(node)) {
    const PartitionRange sibling = tree_.sibling(node);
    const auto other = std::ranges::find(pending_, sibling, &Pending::node);
    if (other == pending_.end()) break;
    if (values && other->values) {
      math::add(values.floats(elements_), other->values.floats(elements_));
    }
    if (other->values) values = std::move(other->values);
    examples += other->examples;
    node = tree_.parent(node);
    if (other != pending_.end() - 1) *other = std::move(pending_.back());
    pending_.pop_back();
  }
  pending_.push_back({node, examples, std::move(values)});
}

Arrivals Aggregator::arrivals() const {
  return {static_cast<std::uint32_t>(covered_.count()), tree_.partitions()};
}

void Aggregator::reset() {
  covered_.clear();
  pending_.clear();
}

}  // namespace sheaf::server
