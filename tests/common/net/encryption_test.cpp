// Connections over loopback that greet each other, encrypted or not, with the same key or not, and
// with somebody in between who changes a bit.
#include <gmock/gmock.h>

#include <array>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/net/handshake_io.h"
#include "common/net/listener.h"

namespace sheaf::net {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

constexpr Duration kLimit = 5s;
const wire::JobKey kKey(wire::Digest{std::byte{0x42}});
const wire::JobKey kOtherKey(wire::Digest{std::byte{0x43}});
constexpr ProcessId kWorker{Role::worker, 1};
constexpr ProcessId kServer{Role::server, 0};

Bytes counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 31 >> 3 & 0xff);
  return bytes;
}

Credentials credentials(ProcessId self, Encryption encryption, const wire::JobKey& key = kKey) {
  Credentials c{key, {}, encryption};
  c.self.process = self;
  return c;
}

// What one side came to: a connection, or an error.
struct End {
  std::optional<Connection> connection;
  std::optional<wire::Identity> peer;
  std::exception_ptr error;

  Fault fault() const { return error ? describe(error).first : Fault::internal; }
  std::string text() const { return error ? describe(error).second : "no error"; }
};

Task<void> accept_and_greet(Listener& listener, Credentials credentials, Duration limit, End& end) {
  end.connection.emplace(co_await listener.accept(kLimit));
  end.peer = co_await receive_greeting(
      *end.connection, credentials, [](const wire::Identity&) { return wire::Verdict::welcome; },
      limit);
}

Task<void> connect_and_greet(asio::io_context& context, Endpoint endpoint, Credentials credentials,
                             ProcessId whom, End& end) {
  end.connection.emplace(co_await connect(context, endpoint, to_string(whom), kLimit));
  end.peer = co_await greet(*end.connection, credentials, whom, kLimit);
}

// Between the two: passes everything on, and turns over one bit of one byte of one direction.
class Meddler {
 public:
  Meddler(asio::io_context& context, Endpoint server)
      : acceptor_(context, {asio::ip::make_address("127.0.0.1"), 0}),
        client_(context),
        server_(context),
        target_(asio::ip::make_address(server.address), server.port) {}

  Endpoint endpoint() const { return {"127.0.0.1", acceptor_.local_endpoint().port()}; }
  // The byte, counted from now.
  void strike(bool from_client, std::size_t byte) {
    Direction& direction = from_client ? up_ : down_;
    direction.strike = direction.passed + byte;
  }
  std::size_t passed(bool from_client) const { return (from_client ? up_ : down_).passed; }
  bool has_struck() const { return struck_; }

  Task<void> join() {
    co_await acceptor_.async_accept(client_, asio::use_awaitable);
    co_await server_.async_connect(target_, asio::use_awaitable);
  }
  Task<void> pass(bool from_client) {
    TcpSocket& from = from_client ? client_ : server_;
    TcpSocket& to = from_client ? server_ : client_;
    Direction& direction = from_client ? up_ : down_;
    Bytes bytes(1 << 16);
    ErrorCode over;
    while (!over) {
      const std::size_t count = co_await from.async_read_some(
          asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, over));
      const std::size_t at = direction.strike - direction.passed;
      if (at < count) {
        bytes[at] ^= std::byte{1};
        struck_ = true;
      }
      direction.passed += count;
      const asio::const_buffer rest(bytes.data(), count);
      ErrorCode error;
      co_await asio::async_write(to, rest, asio::redirect_error(asio::use_awaitable, error));
      if (error) break;
    }
    to.shutdown(TcpSocket::shutdown_send, over);
  }

 private:
  struct Direction {
    std::size_t passed = 0;
    std::size_t strike = SIZE_MAX;
  };
  asio::ip::tcp::acceptor acceptor_;
  TcpSocket client_;
  TcpSocket server_;
  asio::ip::tcp::endpoint target_;
  Direction up_;
  Direction down_;
  bool struck_ = false;
};

// Both ends of a connection and what is between them, on one thread.
class EncryptionTest : public testing::Test {
 protected:
  ~EncryptionTest() override {
    client_.connection.reset();
    server_.connection.reset();
  }

  // Until it has ended; returns how it failed, if it did.
  std::exception_ptr run(Task<void> task) {
    bool open = true;
    std::exception_ptr failure;
    asio::co_spawn(context_, std::move(task), [&](std::exception_ptr error) {
      failure = error;
      open = false;
    });
    context_.restart();  // it may have run dry
    while (open) context_.run_one();
    return failure;
  }
  // Two at once; returns how the second failed.
  std::exception_ptr run(Task<void> first, Task<void> second) {
    bool open = true;
    asio::co_spawn(context_, std::move(first), [&](std::exception_ptr) { open = false; });
    const std::exception_ptr failure = run(std::move(second));
    while (open) context_.run_one();
    return failure;
  }

  void meddle() {
    meddler_ =
        meddlers_.emplace_back(std::make_unique<Meddler>(context_, listener_.endpoint())).get();
    asio::co_spawn(context_, stand_between(*meddler_), [](std::exception_ptr) {});
  }

  // Closes an end that has failed at once, as its owner would.
  static Task<void> closing(Task<void> half, End& end) {
    try {
      co_await std::move(half);
    } catch (...) {
      end.error = std::current_exception();
    }
    if (end.error && end.connection) end.connection->close();
  }

  void shake(const Credentials& client, const Credentials& server, ProcessId whom = kServer,
             Duration limit = kLimit) {
    const Endpoint endpoint = meddler_ ? meddler_->endpoint() : listener_.endpoint();
    run(closing(accept_and_greet(listener_, server, limit, server_), server_),
        closing(connect_and_greet(context_, endpoint, client, whom, client_), client_));
  }

  static Task<void> write(Connection& from, const Bytes& text) {
    // As frames are: a small piece and a large one.
    const std::array<asio::const_buffer, 2> parts = {asio::buffer(text.data(), 64),
                                                     asio::buffer(text) + 64};
    const Gather all{parts.data(), parts.size()};
    co_await from.write(all);
  }
  static Task<void> read(Connection& to, Bytes& text, bool& whole) {
    whole = co_await to.read(text);
  }

  // Sends `text` over; what has arrived, and how the reader failed.
  struct Arrival {
    Bytes text;
    std::exception_ptr error;
  };
  Arrival send(Connection& from, Connection& to, const Bytes& text) {
    Arrival arrival{Bytes(text.size()), {}};
    bool whole = false;
    arrival.error = run(write(from, text), read(to, arrival.text, whole));
    return arrival;
  }

  asio::io_context context_{1};
  Listener listener_{context_, "127.0.0.1", {}};
  std::vector<std::unique_ptr<Meddler>> meddlers_;  // those of before are still between
  Meddler* meddler_ = nullptr;
  End client_;
  End server_;

 private:
  static Task<void> stand_between(Meddler& meddler) {
    co_await meddler.join();
    const auto executor = co_await asio::this_coro::executor;
    asio::co_spawn(executor, meddler.pass(false), [](std::exception_ptr) {});
    co_await meddler.pass(true);
  }
};

// ---- who is encrypted ---------------------------------------------------------------------------

TEST_F(EncryptionTest, WithinAHostNothingIsEncryptedUnasked) {
  shake(credentials(kWorker, Encryption::between_hosts),
        credentials(kServer, Encryption::between_hosts));
  ASSERT_TRUE(client_.peer && server_.peer) << client_.text() << server_.text();
  EXPECT_TRUE(client_.connection->within_host());
  EXPECT_TRUE(server_.connection->within_host());
  EXPECT_FALSE(client_.connection->encrypted());
  EXPECT_FALSE(server_.connection->encrypted());
  EXPECT_EQ(client_.peer->security, 0);
}

TEST_F(EncryptionTest, WhatIsAskedForIsDoneOnLoopbackToo) {
  shake(credentials(kWorker, Encryption::always), credentials(kServer, Encryption::always));
  ASSERT_TRUE(client_.peer && server_.peer) << client_.text() << server_.text();
  EXPECT_TRUE(client_.connection->encrypted());
  EXPECT_TRUE(server_.connection->encrypted());
  EXPECT_EQ(client_.connection->binding(), server_.connection->binding());
  EXPECT_EQ(client_.peer->process, kServer);
  EXPECT_EQ(client_.peer->security, 1);
  EXPECT_EQ(server_.peer->process, kWorker);
  for (const std::size_t size : {65UL, 1UL << 14, (1UL << 20) + 7}) {
    const Bytes text = counting(size);
    EXPECT_EQ(send(*client_.connection, *server_.connection, text).text, text);
    EXPECT_EQ(send(*server_.connection, *client_.connection, text).text, text);
  }
}

TEST_F(EncryptionTest, TheWordsOfTheConfig) {
  EXPECT_EQ(parse_encryption("auto"), Encryption::between_hosts);
  EXPECT_EQ(parse_encryption("tls"), Encryption::always);
  EXPECT_EQ(parse_encryption("none"), Encryption::never);
}

// ---- those who do not belong together -----------------------------------------------------------

TEST_F(EncryptionTest, AClientInTheClearIsToldWhatIsExpected) {
  shake(credentials(kWorker, Encryption::never), credentials(kServer, Encryption::always));
  EXPECT_EQ(client_.fault(), Fault::auth);
  EXPECT_THAT(client_.text(), AllOf(HasSubstr("server 0 at 127.0.0.1:"),
                                    HasSubstr("came without encryption, expected encrypted"),
                                    HasSubstr("start every rank with the same job file")));
  EXPECT_EQ(server_.fault(), Fault::auth);
  EXPECT_THAT(server_.text(), AllOf(HasSubstr("127.0.0.1:"),
                                    HasSubstr("came without encryption, expected encrypted"),
                                    HasSubstr("network.encryption")));
}

TEST_F(EncryptionTest, AClientThatEncryptsIsToldThatNobodyElseDoes) {
  shake(credentials(kWorker, Encryption::always), credentials(kServer, Encryption::never));
  EXPECT_EQ(client_.fault(), Fault::auth);
  EXPECT_THAT(client_.text(), AllOf(HasSubstr("server 0 at 127.0.0.1:"),
                                    HasSubstr("is to be encrypted, found no TLS there"),
                                    HasSubstr("start every rank with the same job file")));
  EXPECT_EQ(server_.fault(), Fault::auth);
  EXPECT_THAT(server_.text(), AllOf(HasSubstr("127.0.0.1:"),
                                    HasSubstr("came encrypted, expected without encryption")));
}

TEST_F(EncryptionTest, AnotherKeyIsRefusedByBothSides) {
  for (const Encryption encryption : {Encryption::always, Encryption::never}) {
    client_ = {};
    server_ = {};
    shake(credentials(kWorker, encryption, kOtherKey), credentials(kServer, encryption));
    EXPECT_EQ(client_.fault(), Fault::auth);
    EXPECT_EQ(server_.fault(), Fault::auth);
    EXPECT_THAT(client_.text(), AllOf(HasSubstr("server 0 at 127.0.0.1:"), HasSubstr("job key")));
    EXPECT_THAT(server_.text(), AllOf(HasSubstr("127.0.0.1:"), HasSubstr("job key")));
  }
}

TEST_F(EncryptionTest, SomebodyElseAtTheAddressIsNoticed) {
  for (const Encryption encryption : {Encryption::always, Encryption::never}) {
    client_ = {};
    server_ = {};
    shake(credentials(kWorker, encryption), credentials(kServer, encryption), {Role::server, 1});
    EXPECT_EQ(client_.fault(), Fault::auth);
    EXPECT_THAT(client_.text(), HasSubstr("expected server 1, found server 0"));
  }
}

Task<void> say(asio::io_context& context, Endpoint endpoint, std::string_view words,
               std::optional<Connection>& connection) {
  connection.emplace(co_await connect(context, endpoint, "the port", kLimit));
  co_await connection->write(std::as_bytes(std::span(words)));
}

TEST_F(EncryptionTest, AStrangerGetsNoWordIn) {
  for (const std::string_view words :
       {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\x16\x03\x01"}) {
    server_ = {};
    std::optional<Connection> stranger;
    const Credentials ours = credentials(kServer, Encryption::always);
    run(say(context_, listener_.endpoint(), words, stranger),
        closing(accept_and_greet(listener_, ours, 100ms, server_), server_));
    const bool half = words.size() < 5;
    EXPECT_EQ(server_.fault(), half ? Fault::network : Fault::auth) << server_.text();
    EXPECT_THAT(server_.text(), HasSubstr(half ? "did not finish the handshake within 0.1 s"
                                               : "cannot agree on a key"));
  }
}

// ---- somebody in between ------------------------------------------------------------------------

TEST_F(EncryptionTest, AMeddlerWhoOnlyListensChangesNothing) {
  meddle();
  shake(credentials(kWorker, Encryption::always), credentials(kServer, Encryption::always));
  ASSERT_TRUE(client_.peer && server_.peer) << client_.text() << server_.text();
  const Bytes text = counting(300'000);
  EXPECT_EQ(send(*client_.connection, *server_.connection, text).text, text);
  EXPECT_FALSE(meddler_->has_struck());
}

// One bit anywhere in a record of a stream of several: what comes before may arrive, the rest
// never.
TEST_F(EncryptionTest, AChangedBitEndsTheConnectionAndGivesNoWrongByte) {
  meddle();
  shake(credentials(kWorker, Encryption::always), credentials(kServer, Encryption::always));
  ASSERT_TRUE(client_.peer && server_.peer) << client_.text() << server_.text();
  client_.connection->set_peer("worker 1");
  meddler_->strike(false, 200'000);
  const Bytes text = counting(300'000);
  const Arrival arrival = send(*server_.connection, *client_.connection, text);
  ASSERT_TRUE(meddler_->has_struck());
  ASSERT_TRUE(arrival.error);
  const auto [fault, words] = describe(arrival.error);
  EXPECT_EQ(fault, Fault::network);
  EXPECT_THAT(words, AllOf(HasSubstr("connection to worker 1"), HasSubstr("changed on the way"),
                           HasSubstr("bad record mac")));
  for (std::size_t i = 0; i < text.size(); ++i) {
    ASSERT_TRUE(arrival.text[i] == text[i] || arrival.text[i] == std::byte{0}) << i;
  }
}

TEST_F(EncryptionTest, AClosedConnectionGivesNothingMore) {
  shake(credentials(kWorker, Encryption::always), credentials(kServer, Encryption::always));
  ASSERT_TRUE(client_.peer && server_.peer) << client_.text() << server_.text();
  const Bytes text = counting(1000);
  Bytes half(500);
  bool whole = false;
  run(write(*server_.connection, text), read(*client_.connection, half, whole));
  EXPECT_TRUE(whole);
  client_.connection->close();  // the other half is here, and decrypted
  const auto error = run(read(*client_.connection, half, whole));
  ASSERT_TRUE(error);
  EXPECT_EQ(describe(error).first, Fault::network);
}

TEST_F(EncryptionTest, OnlyBetweenTwoMessagesIsAnEndAnEnd) {
  for (const std::size_t wanted : {1000UL, 1001UL}) {
    client_ = {};
    server_ = {};
    shake(credentials(kWorker, Encryption::always), credentials(kServer, Encryption::always));
    ASSERT_TRUE(client_.peer && server_.peer) << client_.text() << server_.text();
    const Bytes text = counting(1000);
    run(write(*server_.connection, text));
    server_.connection->close();
    Bytes found(wanted);
    bool whole = false;
    const auto error = run(read(*client_.connection, found, whole));
    if (wanted > text.size()) {
      ASSERT_TRUE(error);
      EXPECT_THAT(describe(error).second,
                  HasSubstr("in the middle of a message (1000 of 1001 bytes)"));
      continue;
    }
    EXPECT_TRUE(whole);
    EXPECT_FALSE(run(read(*client_.connection, found, whole)));
    EXPECT_FALSE(whole);
  }
}

// The same anywhere in the handshakes, of TLS and ours: never do both sides think it went well,
// unless nobody looks at that bit.
class MeddledHandshakeTest : public EncryptionTest, public testing::WithParamInterface<bool> {};

TEST_P(MeddledHandshakeTest, NeverEndsWellForBoth) {
  const bool from_client = GetParam();
  std::size_t harmless = 0;
  for (std::size_t byte = 0;; byte += 13) {
    client_ = {};
    server_ = {};
    meddle();
    meddler_->strike(from_client, byte);
    shake(credentials(kWorker, Encryption::always), credentials(kServer, Encryption::always),
          kServer, 200ms);
    if (!meddler_->has_struck()) break;
    if (client_.peer && server_.peer) {
      ++harmless;
      EXPECT_EQ(client_.connection->binding(), server_.connection->binding());
      continue;
    }
    const End& failed = client_.error ? client_ : server_;
    EXPECT_THAT(failed.text(), HasSubstr("127.0.0.1:"));
    EXPECT_NE(failed.fault(), Fault::internal);
  }
  EXPECT_LE(harmless, 2U);
}
INSTANTIATE_TEST_SUITE_P(Direction, MeddledHandshakeTest, testing::Bool(), [](const auto& test) {
  return test.param ? "FromTheClient" : "FromTheServer";
});

}  // namespace
}  // namespace sheaf::net
