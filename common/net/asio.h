// The only door to Asio. Coroutines stay in the few files that include this.
#pragma once

// clang-format off: awaitable.hpp of Boost 1.74 forgets it
#include <utility>
// clang-format on

#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace sheaf::net {
namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
template <typename T>
using Task = asio::awaitable<T>;
// An eventfd, for wake-ups by other processes.
using EventDescriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;
}  // namespace sheaf::net
