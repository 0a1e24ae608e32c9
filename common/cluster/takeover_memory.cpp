#include "common/cluster/takeover_memory.h"

#include <algorithm>

namespace sheaf::cluster {

void TakeoverMemory::on_contribution(std::string_view tag, Step begun, const ControlFrame& frame) {
  contributions_.push_back({std::string(tag), begun, frame});
}

void TakeoverMemory::on_total(const std::string& tag) {
  const auto found = std::ranges::find(contributions_, tag, &Contribution::tag);
  if (found == contributions_.end()) return;
  std::erase_if(contributions_, [begun = found->begun](const Contribution& c) {
    return c.begun != 0 && c.begun < begun;
  });
}

std::vector<ControlFrame> TakeoverMemory::frames() const {
  std::vector<ControlFrame> all;
  for (const Contribution& c : contributions_) all.push_back(c.frame);
  all.insert(all.end(), end_.begin(), end_.end());
  return all;
}

void TakeoverMemory::on_losses(const std::vector<wire::StepLoss>& reported) {
  for (const wire::StepLoss& loss : reported) {
    if (losses_.size() == kLosses) {
      forgotten_ = std::max(forgotten_.value_or(0), losses_.front().step);
      losses_.pop_front();
    }
    losses_.push_back(loss);
  }
}

Step TakeoverMemory::known_from(Step first) const { return forgotten_ ? *forgotten_ + 1 : first; }

std::optional<TakeoverMemory::Given> TakeoverMemory::on_order(const wire::CheckpointAt& order) {
  if (order.abandoned) {
    orders_.erase(order.version);
    bases_.erase(order.version);
    return std::nullopt;
  }
  const auto [place, is_new] = orders_.try_emplace(order.version);
  if (is_new) return std::nullopt;
  return place->second;
}

void TakeoverMemory::on_base(const wire::CheckpointBase& base) { bases_[base.version] = base.base; }

void TakeoverMemory::on_answer(const wire::CheckpointAnswer& answer) {
  const auto found = orders_.find(answer.version);
  if (found != orders_.end()) found->second.answer = answer;
}

// The newest two that are written may be parts of a checkpoint whose manifest is not. Version 0 may
// be written before it is ordered.
void TakeoverMemory::on_saved(const wire::Saved& saved) {
  const auto found = orders_.try_emplace(saved.version).first;
  found->second.saved = saved;
  std::size_t newer = 0;
  for (auto order = found;; --order) {
    if (order->second.saved && ++newer > 2) order = orders_.erase(order);
    if (order == orders_.begin()) break;
  }
  bases_.erase(bases_.begin(), bases_.lower_bound(orders_.begin()->first));
}

std::vector<Version> TakeoverMemory::ordered() const {
  std::vector<Version> versions;
  for (const auto& [version, given] : orders_) {
    if (!given.saved) versions.push_back(version);
  }
  return versions;
}

std::vector<wire::CheckpointBase> TakeoverMemory::bases() const {
  std::vector<wire::CheckpointBase> all;
  for (const auto& [version, base] : bases_) {
    if (orders_.contains(version)) all.push_back({version, base});
  }
  return all;
}

}  // namespace sheaf::cluster
