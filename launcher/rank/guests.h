// Other workers that this process is as well, because nobody else can take their places: each is
// the same rank that it would be in a process of its own, in a thread, with its own registration,
// connections, data and model. So whatever is true of a replaced worker is true of it.
// The coordinator says who (ControlKind::guest). Belongs to the rank's main thread.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "launcher/rank/rank_session.h"

namespace sheaf::launcher {

class Guests {
 public:
  // `host` outlives the object.
  explicit Guests(RankSession& host);
  // Ends those that are still at work, and waits for them.
  ~Guests();
  Guests(const Guests&) = delete;
  Guests& operator=(const Guests&) = delete;

  // Until all have ended with the job.
  void wait();

 private:
  struct Guest {
    Seat seat;
    RankSession* session = nullptr;  // guarded by mutex_; while it is at work
    std::jthread thread;
  };
  struct Presence;
  void take(const wire::ProcessInfo& worker);
  void run(Guest& guest);

  RankSession& host_;
  const std::string job_;  // the config as text: reading one is no concern of two threads
  std::mutex mutex_;
  bool ending_ = false;                         // guarded
  std::vector<std::unique_ptr<Guest>> guests_;  // guarded
};

}  // namespace sheaf::launcher
