// Authenticated connections between the servers of a job, over which step scalars travel. A server
// connects to those with lower ids and is connected to by those with higher ones; what is lost is
// made again, also with another process in a server's place. Nothing is kept for who is not there:
// whoever comes is told again what it may not know. Only made when a mode needs scalars. Lives in
// the thread of the server's first lane; share() is thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/cluster/shutdown.h"
#include "common/net/handshake_io.h"
#include "common/wire/messages.h"

namespace sheaf::server {

class ScalarLinks {
 public:
  struct Options {
    net::Credentials credentials;
    Duration limit{};     // for a connection to be made
    Duration patience{};  // to be without one
    // Both in the links' thread: a scalar of another server has arrived; all that is known is to be
    // shared again, as somebody is there who may lack some of it.
    std::function<void(Step, std::uint32_t chunk, double)> deliver;
    std::function<void()> on_connected;
    std::function<void(const std::string&)> warn;
  };
  ScalarLinks(Options options, net::asio::io_context& context, cluster::Shutdown& shutdown);
  ~ScalarLinks();

  // One link per other server; connects to those with a lower id.
  void open(const std::vector<wire::ProcessInfo>& servers);
  // For another process to take a server's place.
  void set_patience(Duration patience) { options_.patience = patience; }
  // Takes over an accepted connection, in the place of the one before.
  void accept(net::Connection connection, ProcessId peer);
  // Another process has taken a server's place.
  void move_to(const wire::ProcessInfo& server);
  // Sends a scalar to every other server that is there.
  void share(Step step, std::uint32_t chunk, double value);
  void close();

 private:
  class Link;
  Link* find(ProcessId peer);

  Options options_;
  net::asio::io_context& context_;
  cluster::Shutdown& shutdown_;
  std::vector<std::unique_ptr<Link>> links_;
  bool closing_ = false;
};

}  // namespace sheaf::server
