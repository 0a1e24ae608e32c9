// What a connection is made of: the socket type of all of them, and a borrowed run of buffers.
#pragma once

#include <cstddef>

#include "common/net/asio.h"

namespace sheaf::net {

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

}  // namespace sheaf::net
