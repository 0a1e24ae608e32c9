#include "launcher/coordinator/gathering.h"

#include "common/base/error.h"
#include "common/params/partition_tree.h"

namespace sheaf::launcher {

std::optional<Gathering::Whole> Gathering::add(ProcessId from, wire::Contribution contribution) {
  const std::string& tag = contribution.tag;
  if (whole_.contains(tag)) return std::nullopt;
  Open& open = open_.try_emplace(tag, Open{contribution.sum, {}}).first->second;
  for (auto& [partition, values] : contribution.values) {
    const bool fits =
        partition < partitions_ && open.sum == contribution.sum &&
        (!open.sum || open.values.empty() || open.values.begin()->second.size() == values.size());
    if (!fits) {
      fail(Fault::network, "{} contributes {} values {} for partition {} to \"{}\"",
           to_string(from), values.size(), contribution.sum ? "to sum" : "to list", partition, tag);
    }
    open.values[partition] = std::move(values);
  }
  if (open.values.size() != partitions_) return std::nullopt;

  std::vector<std::vector<double>> in_order;
  for (auto& [partition, values] : open.values) in_order.push_back(std::move(values));
  Whole whole{tag, open.sum, {}};
  open_.erase(tag);
  if (whole.sum) {
    whole.values = params::tree_sum(in_order);
    whole_[tag] = whole.values;
  } else {
    for (const auto& list : in_order) {
      whole.values.insert(whole.values.end(), list.begin(), list.end());
    }
    whole_[tag] = {};
  }
  return whole;
}

const std::vector<double>* Gathering::sum_of(const std::string& tag) const {
  const auto found = whole_.find(tag);
  return found == whole_.end() ? nullptr : &found->second;
}

}  // namespace sheaf::launcher
