#include "server/server_link.h"

#include <gtest/gtest.h>

#include "common/net/listener.h"

namespace sheaf::server {
namespace {

using std::chrono::milliseconds;

struct SilentHandler final : net::FrameHandler {
  std::span<std::byte> receive_into(const wire::Header&) override { return {}; }
  void on_frame(const wire::Header&) override {}
  std::optional<wire::OutFrame> next_frame() override { return std::nullopt; }
};

// It takes whoever comes, and leaves at once, as one that cannot use what it is sent.
struct FickleLane {
  net::Task<void> serve() {
    while (true) {
      net::Connection connection = co_await listener.accept(std::chrono::minutes(10));
      const auto welcome = [](const wire::Identity&) { return wire::Verdict::welcome; };
      co_await net::receive_greeting(connection, credentials, welcome, std::chrono::minutes(10));
      ++greeted;
      connection.close();
    }
  }
  net::asio::io_context& context;
  net::Credentials credentials;
  net::Listener listener{context, "127.0.0.1", {}};
  unsigned greeted = 0;
};

TEST(ServerLinkTest, WhoIsTakenButNeverHeardGivesUpInTime) {
  net::asio::io_context context{1};
  const wire::JobKey key;
  FickleLane lane{context, {.key = key, .self = {}}};
  lane.credentials.self.process = {Role::server, 1};
  net::asio::co_spawn(context, lane.serve(), [](std::exception_ptr) {});

  wire::ProcessInfo server;
  server.process = {Role::server, 1};
  server.address = lane.listener.endpoint().address;
  server.ports = {lane.listener.endpoint().port};
  SilentHandler handler;
  cluster::Shutdown shutdown;
  unsigned lost = 0;
  ServerLink link({.server = server,
                   .credentials = {.key = key, .self = {}},
                   .limit = std::chrono::minutes(10),
                   .patience = milliseconds(300),
                   .on_attached = [] {},
                   .on_lost = [&] { ++lost; },
                   .on_found = {}},
                  context, handler, shutdown);
  const cluster::Shutdown::Subscription ends(shutdown, [&] { context.stop(); });
  const TimePoint begin = std::chrono::steady_clock::now();
  link.start();
  context.run_for(std::chrono::minutes(1));
  EXPECT_GT(std::chrono::steady_clock::now() - begin, milliseconds(300));
  EXPECT_THROW(shutdown.throw_if_failed(), net::ConnectionLost);
  EXPECT_GE(lost, 2U);           // more than once,
  EXPECT_LE(lane.greeted, 12U);  // and not without a pause: 50 ms each
}

}  // namespace
}  // namespace sheaf::server
