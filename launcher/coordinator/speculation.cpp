#include "launcher/coordinator/speculation.h"

#include <algorithm>

#include "common/params/partition_tree.h"

namespace sheaf::launcher {

void Speculation::on_offer(std::uint32_t worker, Step step) {
  idle_[worker] = {step, false};  // it has done what it was asked before
}

void Speculation::on_missing(Step step, std::span<const std::uint32_t> partitions) {
  for (std::uint32_t late = 0; late < options_.workers; ++late) {
    const PartitionRange share =
        params::hosted_partitions(options_.partitions, options_.workers, late);
    const bool lacks = std::ranges::any_of(partitions, [&](auto p) { return share.contains(p); });
    const auto idle = idle_.find(late);
    // What it has pushed may be on its way.
    if (!lacks || (idle != idle_.end() && idle->second.step >= step)) continue;
    Helped& helped = helped_[late];
    if (helped.open && helped.step == step) continue;
    const auto by = choose(late, step);
    if (!by) continue;
    helped = {step, *by, true};
    idle_.at(*by).busy = true;
    options_.send(*by, {share.first, share.count, step});
  }
}

std::optional<std::uint32_t> Speculation::choose(std::uint32_t late, Step step) const {
  std::optional<std::uint32_t> by;
  for (const auto& [worker, idle] : idle_) {
    if (idle.step != step || idle.busy) continue;
    if (!by || worker == helped_.at(late).by) by = worker;
  }
  return by;
}

void Speculation::on_lost(std::uint32_t worker) {
  idle_.erase(worker);
  for (auto& [late, helped] : helped_) {
    if (helped.by == worker) helped.open = false;
  }
}

}  // namespace sheaf::launcher
