// The learning rate of gradients that were computed some versions ago, where the job file asks for
// it: rate / delay, for a delay of at least 1 (Zhang, Gupta, Lian, Liu: Staleness-aware Async-SGD
// for distributed deep learning, IJCAI 2016). With P partitions that push in turn the
// delay is P - 1, so P such steps go about as far as one of bsp at the same rate.
#pragma once

#include <algorithm>

#include "common/base/ids.h"
#include "common/config/section.h"

namespace sheaf::server {

class DelayedRate {
 public:
  explicit DelayedRate(const config::Section& section)
      : by_delay_(section.boolean("delay_aware", false)) {}

  double scale(Version delay) const {
    return by_delay_ ? 1 / static_cast<double>(std::max<Version>(delay, 1)) : 1;
  }

 private:
  bool by_delay_;
};

}  // namespace sheaf::server
