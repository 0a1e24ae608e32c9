#include "launcher/rank/watchdog.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

namespace sheaf::launcher {

Watchdog::Watchdog(Duration limit, Fault fault, std::string text)
    : thread_([this, limit, fault, text = std::move(text)] {
        std::unique_lock lock(mutex_);
        const auto deadline = std::chrono::steady_clock::now() + limit;
        if (changed_.wait_until(lock, deadline, [this] { return over_; })) return;
        fmt::print(stderr, "sheaf: {}\n", text);
        ::_exit(static_cast<int>(fault));
      }) {}

Watchdog::~Watchdog() {
  const std::lock_guard lock(mutex_);
  over_ = true;
  changed_.notify_all();
}

}  // namespace sheaf::launcher
