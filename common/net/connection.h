// A stream of bytes to one peer: TCP between hosts, a local socket pair in tests. Reads into and
// writes from spans of the caller; whether what goes over the wire is encrypted, they do not see.
// Owned by one thread's io_context; not thread-safe. What goes wrong throws ConnectionLost
// (Fault::network), naming the peer.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/net/asio.h"
#include "common/net/socket.h"
#include "common/net/tls.h"
#include "common/net/tls_operations.h"

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

class Connection {
 public:
  // Takes an open socket, or one for connect(). `peer` names the other side in errors: "server 1 at
  // 10.0.0.2:20001".
  Connection(Socket socket, std::string peer);

  // Connects by TCP; gives up after `limit`. Options as every connection of ours: no delay,
  // keepalive, and unacknowledged data for `limit` ends it. From then on the peer is named with its
  // address.
  Task<void> connect(Endpoint endpoint, Duration limit);

  // Returns when there is something to read, or the peer has closed; false if this end has.
  // REQUIRES: not encrypted.
  Task<bool> readable();
  // Fills all of `bytes`. Returns false if the peer closed before the first byte.
  Task<bool> read(std::span<std::byte> bytes);
  Task<void> write(Gather buffers);
  Task<void> write(std::span<const std::byte> bytes);

  // The same for a Loop: completes with (error, bytes), which the next two judge.
  template <typename Handler>
  void async_read(std::span<std::byte> bytes, Handler handler) {
    if (tls_) return TlsRead<Handler>(socket_, *tls_, bytes, std::move(handler)).begin();
    asio::async_read(socket_, asio::mutable_buffer(bytes.data(), bytes.size()), Whole{},
                     std::move(handler));
  }
  template <typename Handler>
  void async_write(Gather buffers, Handler handler) {
    if (tls_) return TlsWrite<Handler>(socket_, *tls_, buffers, std::move(handler)).begin();
    asio::async_write(socket_, buffers, Whole{}, std::move(handler));
  }
  // False if the peer closed before the first of `wanted` bytes; throws if it failed.
  bool read_result(const ErrorCode& error, std::size_t got, std::size_t wanted) const;
  void write_result(const ErrorCode& error) const;

  // Encrypts everything from here on, once both sides have proved the key. Returns false if the
  // peer speaks our protocol without TLS: then nothing is encrypted, and what it said is dropped.
  // Throws Fault::auth if it does not know the key, or if anything was changed on the way.
  Task<bool> start_tls(Tls::Side side, wire::JobKey key);
  bool encrypted() const { return tls_ != nullptr; }
  // What both ends of an encrypted connection share and nobody else has; nothing without TLS.
  std::optional<wire::Digest> binding() const;
  bool is_tcp() const;
  // True if both ends are of one host, which nobody on the network can feign: the kernel drops
  // packets from outside that carry an address of its own.
  bool within_host() const;

  // Ends pending operations; they throw. May be called more than once.
  void close();
  const std::string& peer() const { return peer_; }
  void set_peer(std::string peer) { peer_ = std::move(peer); }
  Executor executor() { return socket_.get_executor(); }
  // The local address of a TCP connection; empty for others.
  std::string local_address() const;

 private:
  // All bytes, as many as the kernel takes at a time; asio's own condition asks for 64 KiB.
  struct Whole {
    std::size_t operator()(const ErrorCode& error, std::size_t) const {
      return error ? 0 : std::size_t{4} << 20;
    }
  };
  [[noreturn]] void lost(std::string_view doing, const ErrorCode& error) const;

  Socket socket_;
  std::unique_ptr<Tls> tls_;
  std::string peer_;
};

// A new connection, connected as by its connect().
Task<Connection> connect(asio::io_context& context, Endpoint endpoint, std::string peer,
                         Duration limit);
void set_options(Socket& socket, Duration limit);

// Two connected ends without a network, for tests and for threads of one process.
std::pair<Connection, Connection> connected_pair(asio::io_context& a, asio::io_context& b);

}  // namespace sheaf::net
