// How long a worker takes for its own part of a step, by its median over the last few: what is late
// is late by this measure, whatever the machine. Plain; belongs to one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "common/base/clock.h"

namespace sheaf::worker {

class OwnPace {
 public:
  void add(Duration step) {
    if (last_.size() < kLast) {
      last_.push_back(step);
    } else {
      last_[next_] = step;
    }
    next_ = (next_ + 1) % kLast;
  }
  // 0 before the first step.
  Duration median() const {
    if (last_.empty()) return Duration{0};
    std::vector<Duration> sorted = last_;
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
    std::ranges::nth_element(sorted, middle);
    return *middle;
  }

 private:
  static constexpr std::size_t kLast = 15;
  std::vector<Duration> last_;
  std::size_t next_ = 0;
};

}  // namespace sheaf::worker
