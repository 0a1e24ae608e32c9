#include "common/wire/handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/base/error.h"
#include "common/wire/bytes.h"

namespace sheaf::wire {
namespace {

constexpr std::string_view kClientGreeting = "SHEAF-HI";
constexpr std::string_view kServerGreeting = "SHEAF-OK";
constexpr std::string_view kLevelRefusal = "SHEAF-NO";
constexpr std::string_view kClientLabel{"sheaf client 1", 15};  // with its terminating zero
constexpr std::string_view kServerLabel{"sheaf server 1", 15};

using IdentityBytes = std::array<std::byte, kIdentityBytes>;
using VerdictBytes = std::array<std::byte, kRefusalBytes>;

Greeting make_greeting(std::string_view word, const Digest& nonce) {
  Greeting bytes{};
  std::memcpy(bytes.data(), word.data(), word.size());
  std::memcpy(bytes.data() + word.size(), nonce.data(), nonce.size());
  return bytes;
}

std::optional<Digest> read_greeting(std::string_view word,
                                    std::span<const std::byte, kGreetingBytes> bytes) {
  if (std::memcmp(bytes.data(), word.data(), word.size()) != 0) return std::nullopt;
  Digest nonce;
  std::memcpy(nonce.data(), bytes.data() + word.size(), nonce.size());
  return nonce;
}

IdentityBytes encode(const Identity& identity) {
  IdentityBytes bytes{};
  put<std::uint16_t>(bytes, 0, identity.protocol);
  put<std::uint8_t>(bytes, 2, static_cast<std::uint8_t>(identity.process.role));
  put<std::uint8_t>(bytes, 3, identity.security);
  put<std::uint32_t>(bytes, 4, identity.process.id);
  put<std::uint32_t>(bytes, 8, identity.epoch);
  put<std::uint32_t>(bytes, 12, identity.incarnation);
  put<std::uint32_t>(bytes, 16, identity.lane);
  std::ranges::copy(identity.build, bytes.begin() + 40);
  std::ranges::copy(identity.config, bytes.begin() + 72);
  std::ranges::copy(identity.numerics, bytes.begin() + 104);
  return bytes;
}

Identity decode(std::span<const std::byte> bytes) {
  Identity identity;
  identity.protocol = get<std::uint16_t>(bytes, 0);
  identity.process.role = static_cast<Role>(get<std::uint8_t>(bytes, 2));
  identity.security = get<std::uint8_t>(bytes, 3);
  identity.process.id = get<std::uint32_t>(bytes, 4);
  identity.epoch = get<std::uint32_t>(bytes, 8);
  identity.incarnation = get<std::uint32_t>(bytes, 12);
  identity.lane = get<std::uint32_t>(bytes, 16);
  std::copy_n(bytes.begin() + 40, 32, identity.build.begin());
  std::copy_n(bytes.begin() + 72, 32, identity.config.begin());
  std::copy_n(bytes.begin() + 104, 32, identity.numerics.begin());
  return identity;
}

VerdictBytes encode(Verdict verdict) {
  VerdictBytes bytes{};
  put<std::uint32_t>(bytes, 0, static_cast<std::uint32_t>(verdict));
  return bytes;
}

bool known(Role role) { return role >= Role::coordinator && role <= Role::client; }

// H(label, parts…) of FORMAT.md, computed over the concatenation. All parts have fixed sizes, but
// for the channel, which is there or not as the identity's security level says.
template <typename... Parts>
Digest prove(const JobKey& key, std::string_view label, const Parts&... parts) {
  std::vector<std::byte> text;
  const auto append = [&text](const auto& part) {
    const auto* begin = reinterpret_cast<const std::byte*>(part.data());
    text.insert(text.end(), begin, begin + part.size());
  };
  append(label);
  (append(parts), ...);
  return hmac_sha256(key, text);
}

std::span<const std::byte> bytes_of(const std::optional<Digest>& digest) {
  return digest ? std::span<const std::byte>(*digest) : std::span<const std::byte>();
}

bool equal(const Digest& a, std::span<const std::byte> b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;  // in constant time
}

}  // namespace

JobKey::JobKey() : bytes_(random_bytes()) {}

JobKey JobKey::from_hex(std::string_view hex) {
  Digest bytes{};
  bool good = hex.size() == 2 * bytes.size();
  for (std::size_t i = 0; good && i < hex.size(); ++i) {
    const char c = hex[i];
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    good = digit >= 0;
    if (good) bytes[i / 2] = (bytes[i / 2] << 4) | static_cast<std::byte>(digit);
  }
  if (!good) fail(Fault::auth, "the job key is not 64 hexadecimal digits; start the job again");
  return JobKey(bytes);
}

JobKey::~JobKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

std::string JobKey::hex() const {
  std::string text;
  for (const std::byte b : bytes_) text += fmt::format("{:02x}", std::to_integer<unsigned>(b));
  return text;
}

Digest sha256(std::span<const std::byte> bytes) {
  Digest digest;
  unsigned int length = 0;
  check(EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()),
                   &length, EVP_sha256(), nullptr) == 1,
        "SHA-256 is available");
  return digest;
}

Digest hmac_sha256(const JobKey& key, std::span<const std::byte> bytes) {
  Digest digest;
  unsigned int length = 0;
  check(HMAC(EVP_sha256(), key.bytes().data(), static_cast<int>(key.bytes().size()),
             reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
             reinterpret_cast<unsigned char*>(digest.data()), &length) != nullptr,
        "HMAC-SHA256 is available");
  return digest;
}

Digest random_bytes() {
  Digest bytes;
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size())) !=
      1) {
    fail(Fault::internal, "the system's random source gave no bytes");
  }
  return bytes;
}

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::welcome: return "welcome";
    case Verdict::bad_key: return "wrong job key";
    case Verdict::other_protocol: return "other protocol version";
    case Verdict::other_security: return "other security level";
    case Verdict::other_build: return "other build of the program";
    case Verdict::other_config: return "other config";
    case Verdict::stale: return "stale epoch or incarnation";
    case Verdict::not_expected: return "not expected here";
  }
  return "unknown verdict";
}

Greeting level_refusal(std::uint8_t expected) {
  Digest level{};
  put<std::uint8_t>(level, 0, expected);
  return make_greeting(kLevelRefusal, level);
}

std::optional<std::uint8_t> refused_level(std::span<const std::byte, kGreetingBytes> bytes) {
  const auto level = read_greeting(kLevelRefusal, bytes);
  return level ? std::optional(get<std::uint8_t>(*level, 0)) : std::nullopt;
}

bool begins_tls(std::span<const std::byte, kGreetingBytes> bytes) {
  return bytes[0] == std::byte{22} && bytes[1] == std::byte{3};  // a record of its handshake
}

ClientHandshake::ClientHandshake(const JobKey& key, const Identity& self, const Digest& nonce,
                                 const std::optional<Digest>& channel)
    : key_(key), self_(self), nonce_(nonce), channel_(channel) {}

Greeting ClientHandshake::greeting() const { return make_greeting(kClientGreeting, nonce_); }

std::optional<Proof> ClientHandshake::on_greeting(
    std::span<const std::byte, kGreetingBytes> bytes) {
  const auto nonce = read_greeting(kServerGreeting, bytes);
  if (!nonce) return std::nullopt;
  peer_nonce_ = *nonce;
  const IdentityBytes self = encode(self_);
  const Digest proof = prove(key_, kClientLabel, nonce_, peer_nonce_, bytes_of(channel_), self);
  Proof message;
  std::ranges::copy(self, message.begin());
  std::ranges::copy(proof, message.begin() + kIdentityBytes);
  return message;
}

bool ClientHandshake::answer_follows(std::span<const std::byte, kRefusalBytes> head) {
  return get<std::uint32_t>(head, 0) != static_cast<std::uint32_t>(Verdict::bad_key);
}

std::optional<ClientHandshake::Result> ClientHandshake::on_answer(
    std::span<const std::byte, kAnswerBytes> bytes) const {
  const auto signed_part = bytes.first<kRefusalBytes + kIdentityBytes>();
  const Digest proof = prove(key_, kServerLabel, nonce_, peer_nonce_, bytes_of(channel_),
                             encode(self_), signed_part);
  if (!equal(proof, bytes.last<32>())) return std::nullopt;
  const auto verdict = get<std::uint32_t>(bytes, 0);
  if (verdict > static_cast<std::uint32_t>(Verdict::not_expected)) return std::nullopt;
  return Result{static_cast<Verdict>(verdict),
                decode(bytes.subspan<kRefusalBytes, kIdentityBytes>())};
}

ServerHandshake::ServerHandshake(const JobKey& key, const Identity& self, const Digest& nonce,
                                 const std::optional<Digest>& channel)
    : key_(key), self_(self), nonce_(nonce), channel_(channel) {}

std::optional<Greeting> ServerHandshake::on_greeting(
    std::span<const std::byte, kGreetingBytes> bytes) {
  const auto nonce = read_greeting(kClientGreeting, bytes);
  if (!nonce) return std::nullopt;
  peer_nonce_ = *nonce;
  return make_greeting(kServerGreeting, nonce_);
}

ServerHandshake::Result ServerHandshake::on_proof(std::span<const std::byte, kProofBytes> bytes,
                                                  const Admit& admit) const {
  const auto client = bytes.first<kIdentityBytes>();
  if (!equal(prove(key_, kClientLabel, peer_nonce_, nonce_, bytes_of(channel_), client),
             bytes.last<32>())) {
    return {Verdict::bad_key, {}, std::nullopt};
  }
  const Identity peer = decode(client);
  Verdict verdict = Verdict::welcome;
  if (peer.protocol != self_.protocol) {
    verdict = Verdict::other_protocol;
  } else if (peer.security != self_.security) {
    verdict = Verdict::other_security;
  } else if (peer.build != self_.build) {
    verdict = Verdict::other_build;
  } else if (peer.config != self_.config) {
    verdict = Verdict::other_config;
  } else {
    verdict = known(peer.process.role) ? admit(peer) : Verdict::not_expected;
  }
  const VerdictBytes head = encode(verdict);
  const IdentityBytes self = encode(self_);
  const Digest proof =
      prove(key_, kServerLabel, peer_nonce_, nonce_, bytes_of(channel_), client, head, self);
  Answer answer;
  auto out = std::ranges::copy(head, answer.begin()).out;
  out = std::ranges::copy(self, out).out;
  std::ranges::copy(proof, out);
  return {verdict, peer, answer};
}

Refusal ServerHandshake::refusal() { return encode(Verdict::bad_key); }

}  // namespace sheaf::wire
