// Where connections come into a lane: whoever connects proves the key within a limit, and the door
// says whether it belongs here. How many may be at that at once is bounded, and who is turned away
// is said, but not each time. Lives in the lane's thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "common/base/clock.h"
#include "common/cluster/shutdown.h"
#include "common/net/handshake_io.h"
#include "common/net/listener.h"
#include "server/door.h"

namespace sheaf::server {

class Entrance {
 public:
  struct Options {
    net::Credentials credentials;  // self.lane is the lane's
    Duration handshake_limit{};    // for a stranger to prove the key
    Duration silence_limit{};      // for unacknowledged data
    // Takes over the connection of somebody who belongs here.
    std::function<void(net::Connection, const wire::Identity&)> enter;
    std::function<void(const std::string&)> warn;
  };
  // `door` and `shutdown` outlive what is open.
  Entrance(Options options, net::asio::io_context& context, Door& door,
           cluster::Shutdown& shutdown);

  // Throws Fault::network.
  net::Endpoint bind(const std::string& address, net::PortRange ports);
  // From here on anybody may come who knows the key. Without effect if nothing is bound.
  void open();
  void close();

 private:
  net::Task<void> accept_loop();
  net::Task<void> receive(net::Connection connection);
  net::Task<wire::Identity> greet(net::Connection& connection);

  Options options_;
  net::asio::io_context& context_;
  Door& door_;
  cluster::Shutdown& shutdown_;
  std::unique_ptr<net::Listener> listener_;
  std::size_t strangers_ = 0;  // connections that have not proved the key yet
  std::size_t refused_ = 0;
  bool closing_ = false;
};

}  // namespace sheaf::server
