#include "server/shard/admission.h"

#include <algorithm>
#include <utility>

namespace sheaf::server {

Admission::Admission(const Options& options)
    : options_(options),
      partitions_(options.partitions),
      here_(options.partitions, BitSet(options.all_lanes)) {}

bool Admission::open(Step step) {
  if (step < step_) return false;
  if (step > step_) {
    step_ = step;
    std::ranges::fill(partitions_, Partition{});
    for (BitSet& lanes : here_) lanes.clear();
    count_ = 0;
    examples_ = 0;
    closed_.reset();
  }
  return true;
}

bool Admission::on_push(Step step, std::uint32_t partition, std::uint64_t examples) {
  if (!open(step)) return false;
  partitions_[partition].examples = examples;
  return ++partitions_[partition].chunks == options_.chunks;
}

bool Admission::on_here(Step step, std::uint32_t partition, std::uint32_t lane) {
  if (!open(step) || closed_ || partitions_[partition].in) return false;
  here_[partition].set(lane);
  if (here_[partition].count() != options_.lanes) return false;
  on_in(step, partition);
  examples_ += partitions_[partition].examples;
  return true;
}

// Without examples there is nothing to go on with, unless nobody has any.
std::optional<std::uint32_t> Admission::close(Step step, const Gate& gate) {
  if (!open(step) || closed_ || !gate.may_apply({count_, options_.partitions})) return {};
  if (examples_ == 0 && count_ != options_.partitions) return {};
  closed_ = count_;
  return closed_;
}

void Admission::on_in(Step step, std::uint32_t partition) {
  if (!open(step) || std::exchange(partitions_[partition].in, true)) return;
  ++count_;
}

void Admission::on_closed(Step step, std::uint32_t count) {
  if (open(step)) closed_ = count;
}

bool Admission::in(Step step, std::uint32_t partition) const {
  return step == step_ && partitions_[partition].in;
}

bool Admission::complete(Step step, std::uint32_t summed) const {
  return step == step_ && closed_ == count_ && summed == count_;
}

}  // namespace sheaf::server
