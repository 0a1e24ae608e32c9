#include "common/net/handshake_io.h"

#include <memory>

#include "common/base/error.h"

namespace sheaf::net {
namespace {

// Closes the connection when a handshake takes too long. Destroyed when it is over.
class Deadline {
 public:
  Deadline(Connection& connection, Duration limit) : timer_(connection.executor(), limit) {
    timer_.async_wait([&connection, expired = expired_](const ErrorCode& cancelled) {
      if (cancelled || *expired == State::over) return;
      *expired = State::expired;
      connection.close();
    });
  }
  ~Deadline() {
    if (*expired_ == State::running) *expired_ = State::over;
    timer_.cancel();
  }
  bool expired() const { return *expired_ == State::expired; }

 private:
  enum class State { running, expired, over };
  // Outlives this object: an expired timer's handler still runs.
  std::shared_ptr<State> expired_ = std::make_shared<State>(State::running);
  asio::steady_timer timer_;
};

Task<void> read_all(Connection& connection, std::span<std::byte> bytes, const Deadline& deadline,
                    Duration limit) {
  bool whole = false;
  try {
    whole = co_await connection.read(bytes);
  } catch (const Error&) {
    if (!deadline.expired()) throw;
  }
  if (deadline.expired()) {
    fail(Fault::network, "{} did not finish the handshake within {:.1f} s", connection.peer(),
         seconds(limit));
  }
  if (!whole) fail(Fault::network, "{} closed during the handshake", connection.peer());
}

}  // namespace

Task<wire::Identity> greet(Connection& connection, Credentials credentials, Duration limit) {
  const Deadline deadline(connection, limit);
  wire::ClientHandshake handshake(credentials.key, credentials.self, wire::random_bytes());
  const wire::Greeting hello = handshake.greeting();
  co_await connection.write(hello);

  wire::Greeting reply;
  co_await read_all(connection, reply, deadline, limit);
  const auto proof = handshake.on_greeting(reply);
  if (!proof) fail(Fault::network, "{} does not speak our protocol", connection.peer());
  co_await connection.write(*proof);

  wire::Answer answer;
  const auto head = std::span(answer).first<wire::kRefusalBytes>();
  co_await read_all(connection, head, deadline, limit);
  if (!wire::ClientHandshake::answer_follows(head)) {
    fail(Fault::auth, "{} refused our job key; is this the key of this job?", connection.peer());
  }
  co_await read_all(connection, std::span(answer).subspan(head.size()), deadline, limit);
  const auto result = handshake.on_answer(answer);
  if (!result) fail(Fault::auth, "{} could not prove that it knows the job key", connection.peer());
  if (result->verdict != wire::Verdict::welcome) {
    fail(Fault::auth, "{} refused us: {} (start every rank with the same program and job file)",
         connection.peer(), to_string(result->verdict));
  }
  co_return result->peer;
}

Task<wire::Identity> receive_greeting(Connection& connection, Credentials credentials,
                                      wire::ServerHandshake::Admit admit, Duration limit) {
  const Deadline deadline(connection, limit);
  wire::ServerHandshake handshake(credentials.key, credentials.self, wire::random_bytes());
  wire::Greeting hello;
  co_await read_all(connection, hello, deadline, limit);
  const auto reply = handshake.on_greeting(hello);
  if (!reply) fail(Fault::auth, "{} does not speak our protocol", connection.peer());
  co_await connection.write(*reply);

  wire::Proof proof;
  co_await read_all(connection, proof, deadline, limit);
  const auto result = handshake.on_proof(proof, admit);
  if (!result.answer) {
    const wire::Refusal refusal = wire::ServerHandshake::refusal();
    co_await connection.write(refusal);
    fail(Fault::auth, "{}: {}", connection.peer(), to_string(result.verdict));
  }
  co_await connection.write(*result.answer);
  if (result.verdict != wire::Verdict::welcome) {
    throw Refused(result.peer, result.verdict,
                  fmt::format("{} ({}): {}", to_string(result.peer.process), connection.peer(),
                              to_string(result.verdict)),
                  std::source_location::current());
  }
  co_return result.peer;
}

}  // namespace sheaf::net
