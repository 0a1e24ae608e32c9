#include "common/net/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "common/net/deadline.h"

namespace sheaf::net {
namespace {

[[noreturn]] void lost(std::string text) {
  throw ConnectionLost(Fault::network, std::move(text), std::source_location::current());
}

// The address of one end, if the connection is TCP.
std::optional<asio::ip::address> address_of(const Socket::endpoint_type& end) {
  asio::ip::tcp::endpoint tcp;
  if (end.size() > tcp.capacity()) return std::nullopt;
  if (end.protocol().family() != AF_INET && end.protocol().family() != AF_INET6) {
    return std::nullopt;
  }
  std::memcpy(tcp.data(), end.data(), end.size());
  tcp.resize(end.size());
  return tcp.address();
}

// Connection's own operations as a coroutine waits for them. (Named: g++ 12 miscompiles capturing
// lambdas beside co_await.)
struct StartRead {
  Connection* connection;
  std::span<std::byte> bytes;
  template <typename Handler>
  void operator()(Handler&& handler) const {
    connection->async_read(bytes, std::forward<Handler>(handler));
  }
};
struct StartWrite {
  Connection* connection;
  Gather buffers;
  template <typename Handler>
  void operator()(Handler&& handler) const {
    connection->async_write(buffers, std::forward<Handler>(handler));
  }
};
using Done = void(ErrorCode, std::size_t);

void set_int(int fd, int level, int name, int value) {
  ::setsockopt(fd, level, name, &value, sizeof value);  // best effort: a tuning, not a promise
}

}  // namespace

std::string to_string(const Endpoint& endpoint) {
  return fmt::format("{}:{}", endpoint.address, endpoint.port);
}

Connection::Connection(Socket socket, std::string peer)
    : socket_(std::move(socket)), peer_(std::move(peer)) {}

Task<bool> Connection::readable() {
  check(!encrypted(), "what an encrypted connection holds is not seen from its socket");
  ErrorCode error;
  co_await socket_.async_wait(Socket::wait_read, asio::redirect_error(asio::use_awaitable, error));
  co_return !error;
}

Task<bool> Connection::read(std::span<std::byte> bytes) {
  ErrorCode error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  const std::size_t got =
      co_await asio::async_initiate<decltype(token), Done>(StartRead{this, bytes}, token);
  co_return read_result(error, got, bytes.size());
}

Task<void> Connection::write(Gather buffers) {
  ErrorCode error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  co_await asio::async_initiate<decltype(token), Done>(StartWrite{this, buffers}, token);
  write_result(error);
}

void Connection::lost(std::string_view doing, const ErrorCode& error) const {
  if (tls_ && !tls_->problem().empty()) {
    net::lost(fmt::format("connection to {}: {}: its encrypted bytes were changed on the way ({})",
                          peer_, doing, tls_->problem()));
  }
  net::lost(fmt::format("connection to {}: {}: {}", peer_, doing, error.message()));
}

bool Connection::read_result(const ErrorCode& error, std::size_t got, std::size_t wanted) const {
  if (!error) return true;
  if (error != asio::error::eof) lost("reading", error);
  if (got == 0) return false;
  net::lost(fmt::format("connection to {}: closed in the middle of a message ({} of {} bytes)",
                        peer_, got, wanted));
}

void Connection::write_result(const ErrorCode& error) const {
  if (error) lost("writing", error);
}

Task<void> Connection::write(std::span<const std::byte> bytes) {
  const asio::const_buffer buffer(bytes.data(), bytes.size());
  co_await write(Gather{&buffer, 1});
}

void Connection::close() {
  ErrorCode ignored;
  socket_.shutdown(Socket::shutdown_both, ignored);
  socket_.close(ignored);
}

std::string Connection::local_address() const {
  ErrorCode error;
  const auto address = address_of(socket_.local_endpoint(error));
  return address ? address->to_string() : std::string();
}

bool Connection::is_tcp() const {
  ErrorCode error;
  const auto end = socket_.local_endpoint(error);
  return error || address_of(end).has_value();
}

bool Connection::within_host() const {
  ErrorCode error;
  const auto here = address_of(socket_.local_endpoint(error));
  if (error) return false;
  if (!here) return true;  // a local socket
  const auto there = address_of(socket_.remote_endpoint(error));
  if (error || !there) return false;
  return *here == *there || (here->is_loopback() && there->is_loopback());
}

Task<bool> Connection::start_tls(Tls::Side side, wire::JobKey key) {
  auto tls = std::make_unique<Tls>(side, key);
  Tls::Handshake state = Tls::Handshake::more;
  while (true) {
    state = tls->handshake();
    ErrorCode error;
    const auto out = tls->outgoing();
    if (!out.empty()) {  // a last word, too, if it has failed
      const asio::const_buffer bytes(out.data(), out.size());
      const std::size_t sent = co_await asio::async_write(
          socket_, bytes, asio::redirect_error(asio::use_awaitable, error));
      tls->sent(sent);
      if (error && state != Tls::Handshake::failed) lost("writing", error);
    }
    if (state != Tls::Handshake::more) break;
    const auto room = tls->room();
    const asio::mutable_buffer space(room.data(), room.size());
    const std::size_t got =
        co_await socket_.async_read_some(space, asio::redirect_error(asio::use_awaitable, error));
    if (error == asio::error::eof) net::lost(fmt::format("{} closed during the handshake", peer_));
    if (error) lost("agreeing on a key", error);
    tls->received(got);
  }
  if (state == Tls::Handshake::failed) {
    fail(Fault::auth,
         "{}: cannot agree on a key for an encrypted connection ({}): it has another job key, or "
         "somebody changes what is sent",
         peer_, tls->problem());
  }
  if (state == Tls::Handshake::done) tls_ = std::move(tls);
  co_return encrypted();
}

std::optional<wire::Digest> Connection::binding() const {
  return tls_ ? std::optional(tls_->binding()) : std::nullopt;
}

void set_options(Socket& socket, Duration limit) {
  const int fd = socket.native_handle();
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(limit).count();
  const int seconds = static_cast<int>(std::max<std::int64_t>(1, milliseconds / 3000));
  set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds);
  set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

Task<void> Connection::connect(Endpoint endpoint, Duration limit) {
  ErrorCode error;
  const auto address = asio::ip::make_address(endpoint.address, error);
  if (error) fail(Fault::network, "{}: {} is no numeric address", peer_, endpoint.address);
  const Deadline deadline(*this, limit);
  const Socket::endpoint_type target(asio::ip::tcp::endpoint(address, endpoint.port));
  co_await socket_.async_connect(target, asio::redirect_error(asio::use_awaitable, error));
  if (error || deadline.expired()) {
    net::lost(fmt::format("cannot connect to {} at {}: {}", peer_, to_string(endpoint),
                          deadline.expired()
                              ? fmt::format("no answer within {:.1f} s", seconds(limit))
                              : error.message()));
  }
  set_options(socket_, limit);
  peer_ = fmt::format("{} at {}", peer_, to_string(endpoint));
}

Task<Connection> connect(asio::io_context& context, Endpoint endpoint, std::string peer,
                         Duration limit) {
  Connection connection{Socket(context), std::move(peer)};
  co_await connection.connect(std::move(endpoint), limit);
  co_return std::move(connection);
}

std::pair<Connection, Connection> connected_pair(asio::io_context& a, asio::io_context& b) {
  using Local = asio::basic_stream_socket<asio::local::stream_protocol, Executor>;
  Local first(a);
  Local second(b);
  asio::local::connect_pair(first, second);
  return {Connection(Socket(std::move(first)), "the other end"),
          Connection(Socket(std::move(second)), "the other end")};
}

}  // namespace sheaf::net
