// Tasks for a thread of their own, one after the other: what would hold up whoever orders it.
// run() from any thread. What has not begun when the object ends is dropped.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace sheaf::launcher {

class Background {
 public:
  Background();

  void run(std::function<void()> task);

 private:
  void loop(const std::stop_token& stop);

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::function<void()>> tasks_;  // guarded
  std::jthread thread_;                       // last, so that it ends before what it uses
};

}  // namespace sheaf::launcher
