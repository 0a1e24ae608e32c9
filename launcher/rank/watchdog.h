// Ends this process when something that cannot be interrupted takes too long (MPI_Init with a rank
// that never arrives). The only place below main that does; says why on stderr first.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "common/base/clock.h"
#include "common/base/error.h"

namespace sheaf::launcher {

class Watchdog {
 public:
  // Unless destroyed within `limit`: prints `text` and exits with the code of `fault`.
  Watchdog(Duration limit, Fault fault, std::string text);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;  // guarded
  std::jthread thread_;
};

}  // namespace sheaf::launcher
