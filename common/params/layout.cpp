#include "common/params/layout.h"

#include <algorithm>
#include <numeric>

#include "common/base/error.h"

namespace sheaf::params {

std::size_t Layout::add(std::string name, std::vector<std::uint32_t> shape, Group group) {
  const std::size_t elements =
      std::accumulate(shape.begin(), shape.end(), std::size_t{1},
                      [](std::size_t a, std::uint32_t b) { return a * b; });
  check(elements > 0, "a tensor has at least one element");
  auto known = std::find(groups_.begin(), groups_.end(), group);
  if (known == groups_.end()) known = groups_.insert(groups_.end(), group);
  tensors_.push_back({std::move(name), std::move(shape), size_, elements,
                      static_cast<std::uint32_t>(known - groups_.begin())});
  size_ += elements;
  return tensors_.size() - 1;
}

Layout Layout::parameters() const {
  Layout layout;
  for (const Tensor& tensor : tensors_) {
    const Group& group = groups_[tensor.group];
    if (!group.averaged) layout.add(tensor.name, tensor.shape, group);
  }
  return layout;
}

}  // namespace sheaf::params
