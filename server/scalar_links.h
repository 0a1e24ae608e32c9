// Authenticated connections between the servers of a job, over which step scalars travel. A server
// connects to those with lower ids and is connected to by those with higher ones. Only made when a
// mode needs scalars. Lives in the thread of the server's first lane; share() is thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/cluster/shutdown.h"
#include "common/net/frame_channel.h"
#include "common/net/handshake_io.h"
#include "common/wire/messages.h"

namespace sheaf::server {

class ScalarLinks {
 public:
  // A scalar of another server has arrived (in the links' thread).
  using Deliver = std::function<void(Step, std::uint32_t chunk, double)>;

  ScalarLinks(net::asio::io_context& context, net::Credentials credentials, Duration limit,
              Deliver deliver, cluster::Shutdown& shutdown);
  ~ScalarLinks();

  // One link per other server; connects to those with a lower id.
  void open(const std::vector<wire::ProcessInfo>& servers);
  // Takes over an accepted connection.
  void accept(net::Connection connection, ProcessId peer);
  // Sends a scalar to every other server.
  void share(Step step, std::uint32_t chunk, double value);
  void close();

 private:
  class Link;
  net::Task<void> connect(Link& link, net::Endpoint endpoint);

  net::asio::io_context& context_;
  net::Credentials credentials_;
  Duration limit_;
  Deliver deliver_;
  cluster::Shutdown& shutdown_;
  std::vector<std::unique_ptr<Link>> links_;
  bool closing_ = false;
};

}  // namespace sheaf::server
