#include "common/net/doorbell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace sheaf::net {
namespace {

void futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* limit) {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), operation, value, limit, nullptr,
            0);
}

}  // namespace

void Doorbell::ring() {
  count_.fetch_add(1, std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_seq_cst) != 0) futex(count_, FUTEX_WAKE, 1, nullptr);
}

void Doorbell::wait(std::uint32_t seen, TimePoint until) {
  const auto left = until - std::chrono::steady_clock::now();
  if (left <= Duration{0}) return;
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(
                               std::min<Duration>(left, std::chrono::hours(1)))
                               .count();
  const timespec limit{static_cast<time_t>(nanoseconds / 1'000'000'000),
                       static_cast<long>(nanoseconds % 1'000'000'000)};
  asleep_.store(1, std::memory_order_seq_cst);
  futex(count_, FUTEX_WAIT, seen, &limit);  // returns at once if the count is not `seen` any more
  asleep_.store(0, std::memory_order_relaxed);
}

}  // namespace sheaf::net
