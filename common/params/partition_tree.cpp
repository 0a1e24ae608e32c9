#include "common/params/partition_tree.h"

namespace sheaf::params {

std::vector<double> tree_sum(const std::vector<std::vector<double>>& values) {
  std::vector<std::vector<double>> level = values;
  for (std::size_t step = 1; step < level.size(); step *= 2) {
    for (std::size_t i = 0; i + step < level.size(); i += 2 * step) {
      for (std::size_t k = 0; k < level[i].size(); ++k) level[i][k] += level[i + step][k];
    }
  }
  return level.empty() ? std::vector<double>{} : level.front();
}

}  // namespace sheaf::params
