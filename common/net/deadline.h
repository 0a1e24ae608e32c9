// Closes a connection when what it is used for takes too long. Destroyed when that is over; the
// connection outlives it, in its place. Lives in the thread of the connection.
#pragma once

#include <memory>

#include "common/base/clock.h"
#include "common/net/connection.h"

namespace sheaf::net {

class Deadline {
 public:
  Deadline(Connection& connection, Duration limit) : timer_(connection.executor(), limit) {
    timer_.async_wait([&connection, state = state_](const ErrorCode& cancelled) {
      if (cancelled || *state == State::over) return;
      *state = State::expired;
      connection.close();
    });
  }
  ~Deadline() {
    if (!expired()) *state_ = State::over;
    timer_.cancel();
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  bool expired() const { return *state_ == State::expired; }

 private:
  enum class State { running, expired, over };
  // Outlives this object: an expired timer's handler still runs.
  std::shared_ptr<State> state_ = std::make_shared<State>(State::running);
  asio::steady_timer timer_;
};

}  // namespace sheaf::net
