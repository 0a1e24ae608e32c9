// A stream of bytes to one peer: TCP between hosts, a local socket pair in tests. Reads into and
// writes from spans of the caller, so that an encrypted stream can take its place later.
// Owned by one thread's io_context; not thread-safe. What goes wrong throws ConnectionLost
// (Fault::network), naming the peer.
#pragma once

#include <span>
#include <string>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/net/asio.h"

namespace sheaf::net {

// The peer or the network is gone (as opposed to a peer that breaks the rules).
class ConnectionLost : public Error {
 public:
  using Error::Error;
};

struct Endpoint {
  std::string address;  // numeric
  std::uint16_t port = 0;
};
std::string to_string(const Endpoint& endpoint);

// With the executor's own type, not a polymorphic one: completions then cost no allocation.
using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Executor>;
using TcpSocket = asio::basic_stream_socket<asio::ip::tcp, Executor>;

// A borrowed run of buffers, written in one go.
struct Gather {
  using value_type = asio::const_buffer;
  using const_iterator = const asio::const_buffer*;
  const_iterator first = nullptr;
  std::size_t count = 0;
  const_iterator begin() const { return first; }
  const_iterator end() const { return first + count; }
};

class Connection {
 public:
  // Takes an open socket. `peer` names the other side in errors: "server 1 at 10.0.0.2:20001".
  Connection(Socket socket, std::string peer);

  // Returns when there is something to read, or the peer has closed; false if this end has.
  Task<bool> readable();
  // Fills all of `bytes`. Returns false if the peer closed before the first byte.
  Task<bool> read(std::span<std::byte> bytes);
  Task<void> write(Gather buffers);
  Task<void> write(std::span<const std::byte> bytes);

  // The same for a Loop: completes with (error, bytes), which the next two judge.
  template <typename Handler>
  void async_read(std::span<std::byte> bytes, Handler handler) {
    asio::async_read(socket_, asio::mutable_buffer(bytes.data(), bytes.size()), handler);
  }
  template <typename Handler>
  void async_write(Gather buffers, Handler handler) {
    asio::async_write(socket_, buffers, handler);
  }
  // False if the peer closed before the first of `wanted` bytes; throws if it failed.
  bool read_result(const ErrorCode& error, std::size_t got, std::size_t wanted) const;
  void write_result(const ErrorCode& error) const;

  // Ends pending operations; they throw. May be called more than once.
  void close();
  const std::string& peer() const { return peer_; }
  void set_peer(std::string peer) { peer_ = std::move(peer); }
  Executor executor() { return socket_.get_executor(); }
  // The local address of a TCP connection; empty for others.
  std::string local_address() const;

 private:
  Socket socket_;
  std::string peer_;
};

// Connects by TCP; gives up after `limit` with Fault::network. Options as every connection of ours:
// no delay, keepalive, and unacknowledged data for `limit` ends it.
Task<Connection> connect(asio::io_context& context, Endpoint endpoint, std::string peer,
                         Duration limit);
void set_options(Socket& socket, Duration limit);

// Two connected ends without a network, for tests and for threads of one process.
std::pair<Connection, Connection> connected_pair(asio::io_context& a, asio::io_context& b);

}  // namespace sheaf::net
