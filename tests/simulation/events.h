// Virtual time: what happens when, and what happens next. Things at the same time happen in the
// order in which they were planned. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "common/base/clock.h"

namespace sheaf::simulation {

using Milliseconds = std::uint64_t;

inline TimePoint at(Milliseconds time) { return TimePoint(std::chrono::milliseconds(time)); }

class Events {
 public:
  Milliseconds now() const { return now_; }
  void schedule(Milliseconds delay, std::function<void()> action) {
    queue_.push({now_ + delay, order_++, std::move(action)});
  }
  // False if nothing is planned.
  bool run_next() {
    if (queue_.empty()) return false;
    auto action = std::move(const_cast<Event&>(queue_.top()).action);  // the order does not see it
    now_ = queue_.top().time;
    queue_.pop();
    action();
    return true;
  }

 private:
  struct Event {
    Milliseconds time;
    std::uint64_t order;
    std::function<void()> action;
    bool operator<(const Event& other) const {  // the earliest on top
      return std::pair(time, order) > std::pair(other.time, other.order);
    }
  };
  std::priority_queue<Event> queue_;
  Milliseconds now_ = 0;
  std::uint64_t order_ = 0;
};

}  // namespace sheaf::simulation
