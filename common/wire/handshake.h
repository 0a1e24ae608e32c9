// The mutual proof of the job key that opens every connection: definition, both sides, no sockets.
// FORMAT.md says what goes over the wire. Messages have fixed sizes; any bytes may be fed in.
// Objects serve one connection and are not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/base/ids.h"

namespace sheaf::wire {

inline constexpr std::uint16_t kProtocol = 1;
using Digest = std::array<std::byte, 32>;

// The 256-bit secret of a job. Wiped when destroyed; never printed, logged or put on a command
// line.
class JobKey {
 public:
  // A new random key.
  JobKey();
  // From 64 hexadecimal digits. Anything else throws Fault::auth, without quoting it.
  static JobKey from_hex(std::string_view hex);
  explicit JobKey(const Digest& bytes) : bytes_(bytes) {}
  JobKey(const JobKey&) = default;
  JobKey& operator=(const JobKey&) = default;
  ~JobKey();
  std::string hex() const;
  const Digest& bytes() const { return bytes_; }

 private:
  Digest bytes_;
};

Digest sha256(std::span<const std::byte> bytes);
Digest hmac_sha256(const JobKey& key, std::span<const std::byte> bytes);
// 32 bytes from the system's random source.
Digest random_bytes();

struct Identity {
  std::uint16_t protocol = kProtocol;
  std::uint8_t security = 0;  // 0 = authenticated only, 1 = within TLS
  ProcessId process;
  std::uint32_t epoch = 0;
  std::uint32_t incarnation = 0;
  std::uint32_t lane = 0;
  Digest build{};
  Digest config{};
  Digest numerics{};
  bool operator==(const Identity&) const = default;
};

enum class Verdict : std::uint32_t {
  welcome = 0,
  bad_key = 1,
  other_protocol = 2,
  other_security = 3,
  other_build = 4,
  other_config = 5,
  stale = 6,
  not_expected = 7,
};
std::string_view to_string(Verdict verdict);

inline constexpr std::size_t kGreetingBytes = 40;
inline constexpr std::size_t kIdentityBytes = 136;
inline constexpr std::size_t kProofBytes = kIdentityBytes + 32;
inline constexpr std::size_t kAnswerBytes = 8 + kIdentityBytes + 32;
inline constexpr std::size_t kRefusalBytes = 8;
using Greeting = std::array<std::byte, kGreetingBytes>;
using Proof = std::array<std::byte, kProofBytes>;
using Answer = std::array<std::byte, kAnswerBytes>;
using Refusal = std::array<std::byte, kRefusalBytes>;

// In the place of message 2, unproved: the server demands the other security level. For an error
// that says more than that the connection was closed.
Greeting level_refusal(std::uint8_t expected);
std::optional<std::uint8_t> refused_level(std::span<const std::byte, kGreetingBytes> bytes);
// True for the first bytes of a client that wants TLS.
bool begins_tls(std::span<const std::byte, kGreetingBytes> bytes);

// Both sides: `channel` names the encrypted channel that carries the handshake, so that the proofs
// are worth nothing on another one; nothing without encryption.
class ClientHandshake {
 public:
  ClientHandshake(const JobKey& key, const Identity& self, const Digest& nonce,
                  const std::optional<Digest>& channel = {});
  // Message 1.
  Greeting greeting() const;
  // Message 2 in, message 3 out; nothing if the peer does not speak this protocol.
  std::optional<Proof> on_greeting(std::span<const std::byte, kGreetingBytes> bytes);
  // The first 8 bytes of message 4: true if the rest follows, false if this is the whole refusal.
  static bool answer_follows(std::span<const std::byte, kRefusalBytes> head);
  // Message 4. Returns nothing if the proof is wrong: the peer does not know the key.
  struct Result {
    Verdict verdict;
    Identity peer;
  };
  std::optional<Result> on_answer(std::span<const std::byte, kAnswerBytes> bytes) const;

 private:
  JobKey key_;
  Identity self_;
  Digest nonce_;
  std::optional<Digest> channel_;
  Digest peer_nonce_{};
};

class ServerHandshake {
 public:
  // Says whether a client that has proved the key is welcome beyond equal protocol, security level,
  // build and config: Verdict::welcome, stale or not_expected.
  using Admit = std::function<Verdict(const Identity& client)>;

  ServerHandshake(const JobKey& key, const Identity& self, const Digest& nonce,
                  const std::optional<Digest>& channel = {});
  // Message 1 in, message 2 out; nothing if the peer does not speak this protocol.
  std::optional<Greeting> on_greeting(std::span<const std::byte, kGreetingBytes> bytes);
  // Message 3 in. `answer` is empty when the key was wrong: then refusal() is all that is sent.
  struct Result {
    Verdict verdict;
    Identity peer;  // only filled when the key was right
    std::optional<Answer> answer;
  };
  Result on_proof(std::span<const std::byte, kProofBytes> bytes, const Admit& admit) const;
  static Refusal refusal();

 private:
  JobKey key_;
  Identity self_;
  Digest nonce_;
  std::optional<Digest> channel_;
  Digest peer_nonce_{};
};

}  // namespace sheaf::wire
