// Wakes one waiting thread, of this process or of another that maps the same memory: a counter and
// the kernel's futex. Lies in shared or private memory; all zero is a valid start. Ringing costs a
// system call only if somebody sleeps.
//
//   waiter: seen = bell.count(); look for work; if there is none: bell.wait(seen, until)
//   ringer: leave work; bell.ring()
//
// Thread-safe for any number of ringers and one waiter.
#pragma once

#include <atomic>
#include <cstdint>

#include "common/base/clock.h"

namespace sheaf::net {

class Doorbell {
 public:
  std::uint32_t count() const { return count_.load(std::memory_order_acquire); }
  void ring();
  // Returns when the bell has been rung since `seen` was read, at `until`, or for no reason.
  void wait(std::uint32_t seen, TimePoint until);

 private:
  std::atomic<std::uint32_t> count_{0};
  std::atomic<std::uint32_t> asleep_{0};
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

// Tells the processor that this thread spins.
inline void spin_pause() { __builtin_ia32_pause(); }

}  // namespace sheaf::net
