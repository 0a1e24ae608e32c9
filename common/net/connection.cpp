#include "common/net/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

namespace sheaf::net {
namespace {

[[noreturn]] void lost(std::string text) {
  throw ConnectionLost(Fault::network, std::move(text), std::source_location::current());
}

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
  ErrorCode error;
  co_await socket_.async_wait(Socket::wait_read, asio::redirect_error(asio::use_awaitable, error));
  co_return !error;
}

Task<bool> Connection::read(std::span<std::byte> bytes) {
  ErrorCode error;
  const std::size_t got =
      co_await asio::async_read(socket_, asio::buffer(bytes.data(), bytes.size()),
                                asio::redirect_error(asio::use_awaitable, error));
  co_return read_result(error, got, bytes.size());
}

Task<void> Connection::write(Gather buffers) {
  ErrorCode error;
  co_await asio::async_write(socket_, buffers, asio::redirect_error(asio::use_awaitable, error));
  write_result(error);
}

bool Connection::read_result(const ErrorCode& error, std::size_t got, std::size_t wanted) const {
  if (!error) return true;
  if (error != asio::error::eof) {
    lost(fmt::format("connection to {}: reading: {}", peer_, error.message()));
  }
  if (got == 0) return false;
  lost(fmt::format("connection to {}: closed in the middle of a message ({} of {} bytes)", peer_,
                   got, wanted));
}

void Connection::write_result(const ErrorCode& error) const {
  if (error) lost(fmt::format("connection to {}: writing: {}", peer_, error.message()));
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
  const auto local = socket_.local_endpoint(error);
  if (error) return {};
  asio::ip::tcp::endpoint tcp;
  if (local.size() > tcp.capacity()) return {};
  if (local.protocol().family() != AF_INET && local.protocol().family() != AF_INET6) return {};
  std::memcpy(tcp.data(), local.data(), local.size());
  tcp.resize(local.size());
  return tcp.address().to_string();
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

Task<Connection> connect(asio::io_context& context, Endpoint endpoint, std::string peer,
                         Duration limit) {
  ErrorCode error;
  const auto address = asio::ip::make_address(endpoint.address, error);
  if (error) fail(Fault::network, "{}: {} is no numeric address", peer, endpoint.address);
  TcpSocket socket(context);
  asio::steady_timer timer(context, limit);
  enum class State { connecting, late, over };
  // Outlives this coroutine: the handler of a timer that has expired runs although it is cancelled.
  const auto state = std::make_shared<State>(State::connecting);
  timer.async_wait([&socket, state](const ErrorCode& cancelled) {
    if (cancelled || *state != State::connecting) return;
    *state = State::late;
    socket.close();
  });
  const asio::ip::tcp::endpoint target(address, endpoint.port);
  co_await socket.async_connect(target, asio::redirect_error(asio::use_awaitable, error));
  timer.cancel();
  const bool late = std::exchange(*state, State::over) == State::late;
  if (error || late) {
    lost(fmt::format(
        "cannot connect to {} at {}: {}", peer, to_string(endpoint),
        late ? fmt::format("no answer within {:.1f} s", seconds(limit)) : error.message()));
  }
  Socket generic(std::move(socket));
  set_options(generic, limit);
  co_return Connection(std::move(generic), fmt::format("{} at {}", peer, to_string(endpoint)));
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
