#include "common/net/handshake_io.h"

#include "common/base/error.h"
#include "common/net/deadline.h"

namespace sheaf::net {
namespace {

constexpr const char* kOneSetting =
    "start every rank with the same job file; where addresses are translated on the way, set "
    "network.encryption = \"tls\"";

bool encrypts(Encryption encryption, const Connection& connection) {
  if (!connection.is_tcp()) return false;
  if (encryption == Encryption::between_hosts) return !connection.within_host();
  return encryption == Encryption::always;
}

std::uint8_t level_of(const Connection& connection) { return connection.encrypted() ? 1 : 0; }

std::string_view name_of_level(std::uint8_t level) {
  return level == 0 ? "without encryption" : "encrypted";
}

Task<void> read_all(Connection& connection, std::span<std::byte> bytes) {
  const bool whole = co_await connection.read(bytes);
  if (!whole) fail(Fault::network, "{} closed during the handshake", connection.peer());
}

// Runs a side's half, and says so if it was the deadline that ended it.
Task<wire::Identity> within(Connection& connection, Duration limit, Task<wire::Identity> half) {
  const Deadline deadline(connection, limit);
  wire::Identity peer;
  try {
    peer = co_await std::move(half);
  } catch (const Error&) {
    if (!deadline.expired()) throw;
  }
  if (deadline.expired()) {
    fail(Fault::network, "{} did not finish the handshake within {:.1f} s", connection.peer(),
         seconds(limit));
  }
  co_return peer;
}

Task<wire::Identity> client_half(Connection& connection, Credentials credentials,
                                 std::optional<ProcessId> whom) {
  if (encrypts(credentials.encryption, connection)) {
    const bool agreed = co_await connection.start_tls(Tls::Side::client, credentials.key);
    if (!agreed) {
      fail(Fault::auth, "{}: this connection is to be encrypted, found no TLS there; {}",
           connection.peer(), kOneSetting);
    }
  }
  credentials.self.security = level_of(connection);
  wire::ClientHandshake handshake(credentials.key, credentials.self, wire::random_bytes(),
                                  connection.binding());
  const wire::Greeting hello = handshake.greeting();
  co_await connection.write(hello);

  wire::Greeting reply;
  co_await read_all(connection, reply);
  if (const auto level = wire::refused_level(reply)) {
    fail(Fault::auth, "{} refused us: we came {}, expected {}; {}", connection.peer(),
         name_of_level(level_of(connection)), name_of_level(*level), kOneSetting);
  }
  const auto proof = handshake.on_greeting(reply);
  if (!proof) fail(Fault::network, "{} does not speak our protocol", connection.peer());
  co_await connection.write(*proof);

  wire::Answer answer;
  const auto head = std::span(answer).first<wire::kRefusalBytes>();
  co_await read_all(connection, head);
  if (!wire::ClientHandshake::answer_follows(head)) {
    fail(Fault::auth, "{} refused our job key; is this the key of this job?", connection.peer());
  }
  co_await read_all(connection, std::span(answer).subspan(head.size()));
  const auto result = handshake.on_answer(answer);
  if (!result) fail(Fault::auth, "{} could not prove that it knows the job key", connection.peer());
  if (result->verdict != wire::Verdict::welcome) {
    throw Refused(
        result->peer, result->verdict,
        fmt::format("{} refused us: {} (start every rank with the same program and job file)",
                    connection.peer(), to_string(result->verdict)),
        std::source_location::current());
  }
  if (whom && result->peer.process != *whom) {
    throw Refused(
        result->peer, wire::Verdict::not_expected,
        fmt::format("{}: expected {}, found {}: is another rank of this job at that address?",
                    connection.peer(), to_string(*whom), to_string(result->peer.process)),
        std::source_location::current());
  }
  co_return result->peer;
}

[[noreturn]] void fail_level(const Connection& connection, std::uint8_t expected) {
  fail(Fault::auth, "{} came {}, expected {}; {}", connection.peer(),
       name_of_level(expected == 0 ? 1 : 0), name_of_level(expected), kOneSetting);
}

Task<wire::Identity> server_half(Connection& connection, Credentials credentials,
                                 wire::ServerHandshake::Admit admit) {
  if (encrypts(credentials.encryption, connection)) {
    const bool agreed = co_await connection.start_tls(Tls::Side::server, credentials.key);
    if (!agreed) {
      // In the clear, and proves nothing: the client's own error then says what to do.
      const wire::Greeting refusal = wire::level_refusal(1);
      co_await connection.write(refusal);
      fail_level(connection, 1);
    }
  }
  credentials.self.security = level_of(connection);
  wire::ServerHandshake handshake(credentials.key, credentials.self, wire::random_bytes(),
                                  connection.binding());
  wire::Greeting hello;
  co_await read_all(connection, hello);
  if (wire::begins_tls(hello)) {
    const wire::Greeting refusal = wire::level_refusal(0);
    co_await connection.write(refusal);
    fail_level(connection, 0);
  }
  const auto reply = handshake.on_greeting(hello);
  if (!reply) fail(Fault::auth, "{} does not speak our protocol", connection.peer());
  co_await connection.write(*reply);

  wire::Proof proof;
  co_await read_all(connection, proof);
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

}  // namespace

Encryption parse_encryption(std::string_view word) {
  check(word == "auto" || word == "tls" || word == "none", "the config has checked the word");
  if (word == "auto") return Encryption::between_hosts;
  return word == "tls" ? Encryption::always : Encryption::never;
}

Task<wire::Identity> greet(Connection& connection, Credentials credentials,
                           std::optional<ProcessId> whom, Duration limit) {
  return within(connection, limit, client_half(connection, std::move(credentials), whom));
}

Task<wire::Identity> receive_greeting(Connection& connection, Credentials credentials,
                                      wire::ServerHandshake::Admit admit, Duration limit) {
  return within(connection, limit,
                server_half(connection, std::move(credentials), std::move(admit)));
}

}  // namespace sheaf::net
