// Stands in for a server's lane when a worker connects, up to a point: then it does no more, and
// says so. Listens on loopback, in a thread of its own.
#pragma once

#include <functional>
#include <thread>

#include "common/net/handshake_io.h"
#include "common/net/listener.h"
#include "common/wire/messages.h"

namespace sheaf::worker {

class LaneStub {
 public:
  enum class Until {
    greeted_by_worker,  // and does not answer
    asked_to_share,     // and does not answer
    shares,
  };
  // `stopped` is called from the stub's thread, with the last header that it has read. `server` is
  // whom it proves to be; the first `drops` connections are closed without a word.
  LaneStub(const wire::JobKey& key, Until until, std::function<void(const wire::Header&)> stopped,
           std::uint32_t server = 0, unsigned drops = 0)
      : until_(until),
        stopped_(std::move(stopped)),
        drops_(drops),
        credentials_{key, wire::Identity{}} {
    credentials_.self.process = {Role::server, server};
    net::asio::co_spawn(context_, serve(), [](std::exception_ptr) {});
    thread_ = std::jthread([this] { context_.run(); });
  }
  ~LaneStub() { context_.stop(); }
  LaneStub(const LaneStub&) = delete;
  LaneStub& operator=(const LaneStub&) = delete;

  wire::ProcessInfo info() const {
    wire::ProcessInfo info;
    info.process = credentials_.self.process;
    info.host_id = kHost;
    info.address = listener_.endpoint().address;
    info.ports = {listener_.endpoint().port};
    return info;
  }
  static constexpr const char* kHost = "this host";

 private:
  static constexpr Duration kLimit = std::chrono::minutes(10);

  net::Task<void> serve() {
    for (unsigned n = 0; n < drops_; ++n) {
      net::Connection dropped = co_await listener_.accept(kLimit);
      dropped.close();
    }
    net::Connection connection = co_await listener_.accept(kLimit);
    wire::Header request;
    if (until_ == Until::greeted_by_worker) {
      co_await connection.readable();
    } else {
      const auto welcome = [](const wire::Identity&) { return wire::Verdict::welcome; };
      co_await net::receive_greeting(connection, credentials_, welcome, kLimit);
      wire::HeaderBytes bytes;
      co_await connection.read(bytes);
      wire::decode(bytes, request);
    }
    if (until_ == Until::shares) {
      wire::Header answer = request;
      answer.type = wire::FrameType::share_ack;
      answer.status = static_cast<std::uint8_t>(wire::ShareStatus::shared);
      const wire::HeaderBytes sent = wire::encode(answer);
      co_await connection.write(sent);
    }
    stopped_(request);
    std::byte never{};
    co_await connection.read({&never, 1});  // until the worker leaves
  }

  const Until until_;
  const std::function<void(const wire::Header&)> stopped_;
  const unsigned drops_;
  net::Credentials credentials_;
  net::asio::io_context context_{1};
  net::Listener listener_{context_, "127.0.0.1", {}};
  std::jthread thread_;
};

}  // namespace sheaf::worker
