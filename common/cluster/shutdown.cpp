#include "common/cluster/shutdown.h"

namespace sheaf::cluster {

void Shutdown::fail(std::exception_ptr error) { end(std::move(error)); }
void Shutdown::finish() { end(nullptr); }

void Shutdown::end(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (ended_.load(std::memory_order_relaxed)) return;
  error_ = std::move(error);
  ended_.store(true, std::memory_order_release);
  for (const auto& wake : wakers_) wake();
}

void Shutdown::throw_if_failed() const {
  const std::lock_guard lock(mutex_);
  if (error_) std::rethrow_exception(error_);
}

Shutdown::Subscription::Subscription(Shutdown& shutdown, std::function<void()> wake)
    : shutdown_(shutdown) {
  const std::lock_guard lock(shutdown.mutex_);
  place_ = shutdown.wakers_.insert(shutdown.wakers_.end(), std::move(wake));
  if (shutdown.ended()) (*place_)();
}

Shutdown::Subscription::~Subscription() {
  const std::lock_guard lock(shutdown_.mutex_);
  shutdown_.wakers_.erase(place_);
}

}  // namespace sheaf::cluster
