#include "tests/cluster/local_coordinator.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/params/partition_tree.h"

namespace sheaf::threads {

std::vector<double> LocalCoordinator::sum(std::string_view tag, const Values& mine) {
  std::unique_lock lock(mutex_);
  add(tag, mine);
  const std::string name(tag);
  changed_.wait(lock, [&] { return closed_ || result_.sums.contains(name); });
  if (!result_.sums.contains(name)) fail(Fault::network, "the job ended before sum {}", tag);
  return result_.sums.at(name);
}

void LocalCoordinator::submit(std::string_view tag, const Values& mine) {
  const std::lock_guard lock(mutex_);
  add(tag, mine);
}

void LocalCoordinator::add(std::string_view tag, const Values& mine) {
  auto& gathered = gathered_[std::string(tag)];
  gathered.insert(mine.begin(), mine.end());
  if (gathered.size() != options_.partitions) return;
  std::vector<std::vector<double>> in_order;
  for (const auto& [partition, values] : gathered) in_order.push_back(values);
  result_.sums[std::string(tag)] = params::tree_sum(in_order);
  changed_.notify_all();
}

void LocalCoordinator::report_loss(const wire::StepLoss& loss) {
  const std::lock_guard lock(mutex_);
  if (!reported_.emplace(loss.step, loss.partition).second) return;  // it has two hosts
  changed_.notify_all();
  if (loss.rejected) result_.rejected.emplace(loss.step, loss.partition);
  auto& [sum, examples] = losses_[loss.step];
  sum += loss.loss_sum;
  examples += loss.examples;
}

void LocalCoordinator::begin(std::uint32_t worker, Step step) {
  std::unique_lock lock(mutex_);
  if (worker == options_.late && step % 4 != 0 && step + 1 != options_.steps) {
    const PartitionRange share = late_share();
    changed_.wait(lock, [&] {
      bool all = true;
      for (std::uint32_t p = share.first; p < share.end(); ++p) {
        all = all && reported_.contains({step, p});
      }
      return closed_ || all;
    });
  }
  if (worker == 1) begun_ = step;
  changed_.notify_all();
  if (!options_.in_turn || worker != 0 || step + 1 == options_.steps) return;
  changed_.wait(lock, [&] { return closed_ || begun_ > step; });
}

PartitionRange LocalCoordinator::late_share() const {
  return params::hosted_partitions(options_.partitions, options_.workers, *options_.late);
}

// All others stand in for the late one: pushes come three times, too.
std::optional<wire::PartitionClock> LocalCoordinator::help_in(Step step,
                                                              std::uint32_t worker) const {
  if (!options_.late || worker == options_.late) return std::nullopt;
  const PartitionRange share = late_share();
  return wire::PartitionClock{share.first, share.count, step};
}

void LocalCoordinator::send_model(std::size_t offset, std::span<const float> values) {
  const std::lock_guard lock(mutex_);
  result_.model.resize(std::max(result_.model.size(), offset + values.size()));
  std::ranges::copy(values, result_.model.begin() + static_cast<std::ptrdiff_t>(offset));
}

void LocalCoordinator::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

Result LocalCoordinator::result() {
  for (const auto& [step, loss] : losses_) {
    result_.losses.push_back(loss.first / static_cast<double>(loss.second));
  }
  result_.loss_reports = reported_.size();
  return std::move(result_);
}

}  // namespace sheaf::threads
