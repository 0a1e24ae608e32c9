// Time as an argument. Logic that waits takes a Clock; only SteadyClock looks at the machine's.
#pragma once

#include <chrono>

namespace sheaf {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
};

// The monotonic clock of this machine; a jump of the wall clock does not move it. Thread-safe.
class SteadyClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
};

inline double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace sheaf
