// Asynchronous reading and writing of an encrypted connection: moves bytes between a Tls and its
// socket. As operations of Asio they complete from the context's loop, never from where they begin,
// and use the memory and executor of their handler, so they allocate nothing of their own.
#pragma once

#include <cerrno>
#include <cstddef>
#include <span>
#include <utility>

#include "common/net/asio.h"
#include "common/net/socket.h"
#include "common/net/tls.h"

namespace sheaf::net {

// What both have: where they are, and how they end.
template <typename Handler>
class TlsOperation {
 public:
  using allocator_type = asio::associated_allocator_t<Handler>;
  allocator_type get_allocator() const noexcept { return asio::get_associated_allocator(handler_); }
  using executor_type = asio::associated_executor_t<Handler, Executor>;
  executor_type get_executor() const noexcept {
    return asio::get_associated_executor(handler_, executor_);
  }

 protected:
  TlsOperation(Socket& socket, Tls& tls, Handler handler)
      : socket_(&socket),
        executor_(socket.get_executor()),
        tls_(&tls),
        handler_(std::move(handler)) {}
  // A closed connection gives nothing more, not even what was received before.
  bool open() const { return socket_->is_open(); }
  void finish(ErrorCode error, bool whole, std::size_t bytes) {
    if (!error && !open()) error = asio::error::operation_aborted;
    if (!error && !whole) error = ErrorCode(EBADMSG, boost::system::system_category());
    handler_(error, bytes);
  }

  Socket* socket_;
  Executor executor_;
  Tls* tls_;
  Handler handler_;
};

// Fills all of `bytes`.
template <typename Handler>
class TlsRead : public TlsOperation<Handler> {
 public:
  TlsRead(Socket& socket, Tls& tls, std::span<std::byte> bytes, Handler handler)
      : TlsOperation<Handler>(socket, tls, std::move(handler)),
        rest_(bytes),
        wanted_(bytes.size()) {}

  void begin() && {
    if (wants_more()) return std::move(*this).receive();
    asio::post(this->executor_, std::move(*this));
  }
  void operator()() { end({}); }
  void operator()(const ErrorCode& error, std::size_t bytes) {
    if (error) return end(error);
    this->tls_->received(bytes);
    if (wants_more()) return std::move(*this).receive();
    end({});
  }

 private:
  bool wants_more() { return this->open() && this->tls_->read(rest_) && !rest_.empty(); }
  void receive() && {
    const auto room = this->tls_->room();
    Socket& socket = *this->socket_;
    socket.async_read_some(asio::mutable_buffer(room.data(), room.size()), std::move(*this));
  }
  void end(const ErrorCode& error) { this->finish(error, rest_.empty(), wanted_ - rest_.size()); }

  std::span<std::byte> rest_;
  std::size_t wanted_;
};

// Writes all of `buffers`, which end a message.
template <typename Handler>
class TlsWrite : public TlsOperation<Handler> {
 public:
  TlsWrite(Socket& socket, Tls& tls, Gather buffers, Handler handler)
      : TlsOperation<Handler>(socket, tls, std::move(handler)), buffers_(buffers) {}

  void begin() && {
    if (has_more()) return std::move(*this).send();
    asio::post(this->executor_, std::move(*this));
  }
  void operator()() { end({}); }
  void operator()(const ErrorCode& error, std::size_t bytes) {
    if (error) return end(error);
    this->tls_->sent(bytes);
    if (has_more()) return std::move(*this).send();
    end({});
  }

 private:
  // True if there is something to send; encrypts when all that was is sent.
  bool has_more() {
    if (!this->open()) return false;
    if (!this->tls_->outgoing().empty()) return true;
    while (buffers_.count != 0) {
      const asio::const_buffer& buffer = *buffers_.first;
      std::span rest(static_cast<const std::byte*>(buffer.data()), buffer.size());
      rest = rest.subspan(taken_);
      if (!this->tls_->write(rest)) return false;
      written_ += buffer.size() - taken_ - rest.size();
      taken_ = buffer.size() - rest.size();
      if (!rest.empty()) return true;
      taken_ = 0;
      ++buffers_.first;
      --buffers_.count;
    }
    return this->tls_->flush() && !this->tls_->outgoing().empty();
  }
  void send() && {
    const auto bytes = this->tls_->outgoing();
    Socket& socket = *this->socket_;
    socket.async_write_some(asio::const_buffer(bytes.data(), bytes.size()), std::move(*this));
  }
  void end(const ErrorCode& error) { this->finish(error, this->tls_->problem().empty(), written_); }

  Gather buffers_;
  std::size_t taken_ = 0;  // of the first buffer
  std::size_t written_ = 0;
};

}  // namespace sheaf::net
