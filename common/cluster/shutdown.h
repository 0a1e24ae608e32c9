// How the threads of one rank end together: the first failure, or the request to finish, wins and
// wakes everybody who waits. Thread-safe.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <list>
#include <mutex>

#include "common/base/error.h"
#include "common/base/ids.h"

namespace sheaf::cluster {

// A fault that another process of the job committed and this one noticed: the job blames that one.
class PeerFault : public Error {
 public:
  PeerFault(ProcessId peer, Fault fault, std::string message, std::source_location where)
      : Error(fault, std::move(message), where), peer_(peer) {}
  ProcessId peer() const { return peer_; }

 private:
  ProcessId peer_;
};

class Shutdown {
 public:
  // Ends the rank with an error. Later calls change nothing.
  void fail(std::exception_ptr error);
  // Ends the rank in peace.
  void finish();

  bool ended() const { return ended_.load(std::memory_order_acquire); }
  // Throws the failure, if that is how it ended.
  void throw_if_failed() const;

  // Calls `wake` once when the rank ends (at once if it has). Unsubscribes when destroyed; after
  // that `wake` is not running and never will.
  class Subscription {
   public:
    Subscription(Shutdown& shutdown, std::function<void()> wake);
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

   private:
    Shutdown& shutdown_;
    std::list<std::function<void()>>::iterator place_;
  };

 private:
  void end(std::exception_ptr error);
  std::atomic<bool> ended_{false};
  mutable std::recursive_mutex mutex_;
  std::exception_ptr error_;                 // guarded by mutex_
  std::list<std::function<void()>> wakers_;  // guarded by mutex_
};

}  // namespace sheaf::cluster
