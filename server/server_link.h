// The connection of a lane to a lane of another server: made, and made again when it is lost or
// when another process has taken that server's place. What goes over it is the handler's. Lives in
// the lane's thread, whose context runs out of work soon after close().
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/cluster/shutdown.h"
#include "common/net/frame_channel.h"
#include "common/net/handshake_io.h"
#include "common/wire/messages.h"

namespace sheaf::server {

class ServerLink {
 public:
  struct Options {
    wire::ProcessInfo server;
    std::uint32_t lane = 0;        // of that server
    net::Credentials credentials;  // self.lane: what for, see Door
    Duration limit{};              // for a connection to be made
    Duration patience{};           // to be without one; 0: what is lost is a failure at once
    // There is a new one, before anything goes over it; it is lost.
    std::function<void()> on_attached;
    std::function<void()> on_lost;
    // It is there again: why it was lost, and how long that took.
    std::function<void(const std::string& why, Duration)> on_found;
  };
  // `handler` outlives the object.
  ServerLink(Options options, net::asio::io_context& context, net::FrameHandler& handler,
             cluster::Shutdown& shutdown);
  ~ServerLink();

  void start() { reconnect(); }
  ProcessId whom() const { return options_.server.process; }
  void set_patience(Duration patience) { options_.patience = patience; }
  // Another process has taken that server's place.
  void move_to(const wire::ProcessInfo& server);
  // The handler may have something to send.
  void wake();
  void close();

 private:
  net::Task<void> join();
  void attach();
  void on_closed(std::exception_ptr error);
  void reconnect();
  std::string name() const { return to_string(options_.server.process); }

  Options options_;
  net::asio::io_context& context_;
  net::FrameHandler& handler_;
  cluster::Shutdown& shutdown_;
  net::Connection connection_;  // until it is attached
  std::unique_ptr<net::FrameChannel> channel_;
  net::asio::steady_timer pause_;
  bool closing_ = false;
  TimePoint attached_at_{};
  std::optional<TimePoint>
      lost_at_;  // the first in a row of losses, each soon after the one before
  std::string why_lost_;
};

}  // namespace sheaf::server
