// How long a thread looks for work before it sleeps, learnt from whether looking has paid: spins
// that found work make the next one longer, up to `most`; those in vain make it shorter, down to
// none (threads that share a core with what they wait for only delay it). Then one in so many waits
// tries again.
// Belongs to one thread.
#pragma once

#include <algorithm>

#include "common/base/clock.h"

namespace sheaf::net {

class Spin {
 public:
  Spin() = default;
  explicit Spin(Duration most) : most_(most), budget_(most) {}

  // A wait begins, or goes on after it has found something.
  void start(TimePoint now) {
    const bool retry = budget_ == Duration{0} && ++waits_ % kRetry == 0;
    until_ = now + (retry ? most_ / 8 : budget_);
  }
  // Whether to look once more. At the end of a spin in vain: false, and the next one is shorter.
  bool look(TimePoint now) {
    if (now < until_) return true;
    budget_ = budget_ < most_ / 64 ? Duration{0} : budget_ / 2;
    return false;
  }
  // Looking has found work.
  void found() { budget_ = std::min(most_, 2 * budget_ + most_ / 32); }

 private:
  static constexpr unsigned kRetry = 64;
  Duration most_{};
  Duration budget_{};
  TimePoint until_{};
  unsigned waits_ = 0;
};

}  // namespace sheaf::net
