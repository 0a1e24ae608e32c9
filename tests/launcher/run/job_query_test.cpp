// What a command learns from a coordinator that answers, leaves, says nothing or says nonsense.
#include "launcher/run/job_query.h"

#include <gmock/gmock.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "common/base/error.h"
#include "common/net/handshake_io.h"
#include "common/net/listener.h"
#include "launcher/run/control_peer.h"
#include "launcher/run/run_json.h"
#include "launcher/system/build_identity.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::launcher {
namespace {

using testing::HasSubstr;
using wire::ControlKind;

constexpr Duration kNotInThisTest = std::chrono::minutes(10);

// Stands in for a coordinator: whoever proves the key has its first question met by `answer`.
class CoordinatorStub {
 public:
  using Answer = std::function<void(ControlPeer& client)>;
  explicit CoordinatorStub(Answer answer) : answer_(std::move(answer)) {
    credentials_.self.process = {Role::coordinator, 0};
    credentials_.self.build = build_digest();
    net::asio::co_spawn(context_, serve(), [](std::exception_ptr) {});
    const net::Endpoint at = listener_.endpoint();
    std::ofstream(run_ / "control.json") << control_json({.job = "small",
                                                          .address = at.address,
                                                          .port = at.port,
                                                          .config_sha256 = std::string(64, '0'),
                                                          .encryption = "auto",
                                                          .key = credentials_.key.bytes()});
    thread_ = std::jthread([this] { context_.run(); });
  }
  // REQUIRES: somebody has come.
  ~CoordinatorStub() {
    net::asio::post(context_, [this] {
      if (client_) client_->close();
    });
    thread_.join();
  }
  CoordinatorStub(const CoordinatorStub&) = delete;
  CoordinatorStub& operator=(const CoordinatorStub&) = delete;

  const std::filesystem::path& run() const { return run_.path(); }

 private:
  net::Task<void> serve() {
    net::Connection connection = co_await listener_.accept(kNotInThisTest);
    const auto welcome = [](const wire::Identity&) { return wire::Verdict::welcome; };
    co_await net::receive_greeting(connection, credentials_, welcome, kNotInThisTest);
    client_ = std::make_unique<ControlPeer>(
        ProcessId{Role::client, 0}, 0, std::move(connection),
        [this](ControlPeer& from, const wire::Header&, std::span<const std::byte>) {
          answer_(from);
        },
        [](ControlPeer&, std::exception_ptr) {});
  }

  const Answer answer_;
  TemporaryFolder run_;
  net::Credentials credentials_{wire::JobKey(), wire::Identity{}};
  net::asio::io_context context_{1};
  net::Listener listener_{context_, "127.0.0.1", {}};
  std::unique_ptr<ControlPeer> client_;
  std::jthread thread_;
};

// What asking for the status throws.
std::string error_of(const CoordinatorStub& stub, Duration limit = kNotInThisTest) {
  try {
    ask_status(stub.run(), limit);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::network);
    return error.message();
  }
  return "no error";
}

TEST(JobQueryTest, AnAnswerIsTheAnswer) {
  const CoordinatorStub stub([](ControlPeer& client) {
    client.beat();  // which says nothing
    wire::Status status;
    status.job = "small";
    status.step = 17;
    client.send(ControlKind::status, status);
  });
  const auto status = ask_status(stub.run(), kNotInThisTest);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->job, "small");
  EXPECT_EQ(status->step, 17U);
}

TEST(JobQueryTest, WhoLeavesBeforeTheAnswerHasEnded) {
  const CoordinatorStub leaves([](ControlPeer& client) { client.close(); });
  EXPECT_FALSE(ask_status(leaves.run(), kNotInThisTest));
  const CoordinatorStub ends(
      [](ControlPeer& client) { client.send(ControlKind::stop, wire::Failure{}); });
  EXPECT_FALSE(ask_status(ends.run(), kNotInThisTest));
}

TEST(JobQueryTest, WhatIsNoAnswerIsAnError) {
  const CoordinatorStub torn([](ControlPeer& client) {
    client.send(ControlKind::status, wire::Drain{});  // not a whole Status
  });
  EXPECT_THAT(error_of(torn), HasSubstr("control message"));
  const CoordinatorStub other(
      [](ControlPeer& client) { client.send(ControlKind::granted, wire::Drain{}); });
  EXPECT_THAT(error_of(other), HasSubstr("control message 23"));
}

TEST(JobQueryTest, WhoSaysNothingIsSaidToBeSilent) {
  const CoordinatorStub stub([](ControlPeer&) {});
  EXPECT_THAT(error_of(stub, std::chrono::milliseconds(300)), HasSubstr("has not answered"));
}

}  // namespace
}  // namespace sheaf::launcher
