#include "server/chunk/partition_clocks.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace sheaf::server {

PartitionClocks::Offer PartitionClocks::offer(PartitionRange partitions, Step step) const {
  std::uint32_t here = 0;
  for (std::uint32_t p = partitions.first; p < partitions.end(); ++p) {
    if (clocks_[p] < step) return Offer::ahead;
    here += has(p, step) ? 1U : 0U;
  }
  if (here == 0) return Offer::next;
  return here == partitions.count ? Offer::contained : Offer::overlapping;
}

void PartitionClocks::advance(PartitionRange partitions) {
  for (std::uint32_t p = partitions.first; p < partitions.end(); ++p) {
    if (clocks_[p]++ == slowest_) --at_slowest_;
  }
  if (at_slowest_ == 0) find_slowest();
}

void PartitionClocks::pass(std::uint32_t partition, Step clock) {
  if (clocks_[partition] >= clock) return;
  const bool at_slowest = std::exchange(clocks_[partition], clock) == slowest_;
  if (at_slowest && --at_slowest_ == 0) find_slowest();
}

void PartitionClocks::find_slowest() {
  slowest_ = std::ranges::min(clocks_);
  at_slowest_ = static_cast<std::size_t>(std::ranges::count(clocks_, slowest_));
}

void PartitionClocks::write(std::span<Step> into) const {
  std::ranges::copy(clocks_, into.begin());
}

void PartitionClocks::read(std::span<const Step> from) {
  clocks_.assign(from.begin(), from.end());
  find_slowest();
}

Step PartitionClocks::fastest() const { return std::ranges::max(clocks_); }

void PartitionClocks::set_all(Step clock) {
  std::ranges::fill(clocks_, clock);
  slowest_ = clock;
  at_slowest_ = clocks_.size();
}

Step PartitionClocks::slowest(PartitionRange partitions) const {
  Step slowest = std::numeric_limits<Step>::max();
  for (std::uint32_t p = partitions.first; p < partitions.end(); ++p) {
    slowest = std::min(slowest, clocks_[p]);
  }
  return slowest;
}

bool PartitionClocks::any_beyond(Step clock) const {
  return std::ranges::any_of(clocks_, [&](Step c) { return c > clock; });
}

}  // namespace sheaf::server
