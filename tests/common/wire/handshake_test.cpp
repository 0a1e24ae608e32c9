#include "common/wire/handshake.h"

#include <gmock/gmock.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace sheaf::wire {
namespace {

using testing::HasSubstr;
using testing::Not;

Digest filled(int value) {
  Digest digest;
  digest.fill(static_cast<std::byte>(value));
  return digest;
}

const JobKey kKey(filled(0x42));

Identity worker_identity() {
  Identity identity;
  identity.process = {Role::worker, 3};
  identity.epoch = 7;
  identity.incarnation = 2;
  identity.lane = 1;
  identity.build = filled(1);
  identity.config = filled(2);
  identity.numerics = filled(3);
  return identity;
}

Identity server_identity() {
  Identity identity = worker_identity();
  identity.process = {Role::server, 5};
  identity.numerics = filled(9);  // may differ: judged later, not here
  return identity;
}

Verdict welcome(const Identity&) { return Verdict::welcome; }

// Both sides as far as message 3, with fixed nonces.
struct Pair {
  explicit Pair(const Identity& client_identity = worker_identity(),
                const JobKey& client_key = kKey)
      : client(client_key, client_identity, filled(0x10)),
        server(kKey, server_identity(), filled(0x20)),
        hello(client.greeting()),
        reply(server.on_greeting(hello).value()),
        proof(client.on_greeting(reply).value()) {}
  ClientHandshake client;
  ServerHandshake server;
  Greeting hello;
  Greeting reply;
  Proof proof;
};

TEST(HandshakeTest, BothSidesLearnWhoTheOtherIs) {
  const Pair pair;
  const auto received = pair.server.on_proof(pair.proof, welcome);
  EXPECT_EQ(received.verdict, Verdict::welcome);
  EXPECT_EQ(received.peer, worker_identity());
  ASSERT_TRUE(received.answer);
  EXPECT_TRUE(ClientHandshake::answer_follows(std::span(*received.answer).first<kRefusalBytes>()));
  const auto result = pair.client.on_answer(*received.answer);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->verdict, Verdict::welcome);
  EXPECT_EQ(result->peer, server_identity());
}

// ---- a second implementation, from the text of FORMAT.md ----------------------------------------

using Bytes = std::vector<std::byte>;

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
Bytes text(std::string_view word) {
  const auto* begin = reinterpret_cast<const std::byte*>(word.data());
  return {begin, begin + word.size()};
}
Bytes little(std::uint64_t value, int size) {
  Bytes bytes;
  for (int i = 0; i < size; ++i) bytes.push_back(static_cast<std::byte>(value >> (8 * i) & 0xff));
  return bytes;
}
Bytes repeated(int value, std::size_t count) { return Bytes(count, static_cast<std::byte>(value)); }

// HMAC-SHA256 through the EVP_MAC interface of OpenSSL 3, which the program does not use.
Bytes hmac(const Bytes& key, const Bytes& message) {
  const std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> mac(
      EVP_MAC_fetch(nullptr, "HMAC", nullptr), EVP_MAC_free);
  const std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> context(
      EVP_MAC_CTX_new(mac.get()), EVP_MAC_CTX_free);
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                               OSSL_PARAM_construct_end()};
  const auto* secret = reinterpret_cast<const unsigned char*>(key.data());
  const auto* data = reinterpret_cast<const unsigned char*>(message.data());
  Bytes out(32);
  std::size_t size = 0;
  EXPECT_EQ(EVP_MAC_init(context.get(), secret, key.size(), params), 1);
  EXPECT_EQ(EVP_MAC_update(context.get(), data, message.size()), 1);
  EXPECT_EQ(EVP_MAC_final(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, 32),
            1);
  return out;
}

Bytes identity_by_the_text(int role, std::uint32_t id, int numerics) {
  return little(1, 2) + little(static_cast<std::uint64_t>(role), 1) + little(0, 1) + little(id, 4) +
         little(7, 4) + little(2, 4) + little(1, 4) + little(0, 4) + repeated(0, 16) +
         repeated(1, 32) + repeated(2, 32) + repeated(numerics, 32);
}

TEST(HandshakeTest, EveryMessageIsWhatTheFormatSays) {
  const Pair pair;
  const Bytes key = repeated(0x42, 32);
  const Bytes nonces = repeated(0x10, 32) + repeated(0x20, 32);  // of the client, of the server
  const auto as_vector = [](const auto& array) { return Bytes(array.begin(), array.end()); };

  EXPECT_EQ(as_vector(pair.hello), text("SHEAF-HI") + repeated(0x10, 32));
  EXPECT_EQ(as_vector(pair.reply), text("SHEAF-OK") + repeated(0x20, 32));

  const Bytes client = identity_by_the_text(3, 3, 3);
  EXPECT_EQ(as_vector(pair.proof),
            client + hmac(key, text("sheaf client 1") + little(0, 1) + nonces + client));

  const Bytes server = identity_by_the_text(2, 5, 9);
  const Bytes verdict = little(6, 4) + little(0, 4);
  const auto received =
      pair.server.on_proof(pair.proof, [](const Identity&) { return Verdict::stale; });
  EXPECT_EQ(
      as_vector(received.answer.value()),
      verdict + server +
          hmac(key, text("sheaf server 1") + little(0, 1) + nonces + client + verdict + server));
  EXPECT_EQ(as_vector(ServerHandshake::refusal()), little(1, 4) + little(0, 4));
}

// Within TLS the proofs also cover the name of the channel, behind the nonces.
TEST(HandshakeTest, TheProofsAreBoundToTheirChannel) {
  const Bytes key = repeated(0x42, 32);
  const Bytes nonces = repeated(0x10, 32) + repeated(0x20, 32);
  ClientHandshake client(kKey, worker_identity(), filled(0x10), filled(0x30));
  ServerHandshake server(kKey, server_identity(), filled(0x20), filled(0x30));
  const Proof proof = client.on_greeting(server.on_greeting(client.greeting()).value()).value();
  const Bytes identity = identity_by_the_text(3, 3, 3);
  EXPECT_EQ(Bytes(proof.begin(), proof.end()),
            identity + hmac(key, text("sheaf client 1") + little(0, 1) + nonces +
                                     repeated(0x30, 32) + identity));
  const Answer answer = server.on_proof(proof, welcome).answer.value();
  EXPECT_TRUE(client.on_answer(answer));

  // Carried over from another channel, or from none.
  for (const auto& channel : {std::optional<Digest>(), std::optional(filled(0x31))}) {
    ServerHandshake elsewhere(kKey, server_identity(), filled(0x20), channel);
    ASSERT_TRUE(elsewhere.on_greeting(client.greeting()));
    EXPECT_EQ(elsewhere.on_proof(proof, welcome).verdict, Verdict::bad_key);
    ClientHandshake other(kKey, worker_identity(), filled(0x10), channel);
    ASSERT_TRUE(other.on_greeting(ServerHandshake(server).on_greeting(other.greeting()).value()));
    EXPECT_FALSE(other.on_answer(answer));
  }
}

TEST(HandshakeTest, TheOtherSecurityLevelIsSaidInPlace) {
  for (const std::uint8_t level : {std::uint8_t{0}, std::uint8_t{1}}) {
    const Greeting refusal = level_refusal(level);
    EXPECT_EQ(Bytes(refusal.begin(), refusal.end()),
              text("SHEAF-NO") + little(level, 1) + repeated(0, 31));
    EXPECT_EQ(refused_level(refusal), level);
    Pair pair;
    EXPECT_FALSE(pair.client.on_greeting(refusal));
    EXPECT_FALSE(refused_level(pair.reply));
  }
  Greeting record{};
  record[0] = std::byte{22};
  record[1] = std::byte{3};
  EXPECT_TRUE(begins_tls(record));
  EXPECT_FALSE(begins_tls(Pair().hello));
}

// SHA-256 of "abc": FIPS 180-4, example 1.
TEST(HandshakeTest, TheHashGivesThePublishedValue) {
  EXPECT_EQ(JobKey(sha256(text("abc"))).hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

// ---- who is refused -----------------------------------------------------------------------------

TEST(HandshakeTest, AWrongKeyIsRefusedWithoutAReason) {
  const Pair pair(worker_identity(), JobKey(filled(0x43)));
  const auto received = pair.server.on_proof(pair.proof, welcome);
  EXPECT_EQ(received.verdict, Verdict::bad_key);
  EXPECT_FALSE(received.answer);
  EXPECT_EQ(received.peer, Identity{});  // nothing unproved is believed
  EXPECT_FALSE(ClientHandshake::answer_follows(ServerHandshake::refusal()));
}

TEST(HandshakeTest, AServerWithoutTheKeyIsNotBelieved) {
  const Pair pair;
  ServerHandshake stranger(JobKey(filled(0x43)), server_identity(), filled(0x20));
  ASSERT_TRUE(stranger.on_greeting(pair.hello));
  ClientHandshake client(JobKey(filled(0x43)), worker_identity(), filled(0x10));
  const auto answer = stranger.on_proof(client.on_greeting(pair.reply).value(), welcome).answer;
  ASSERT_TRUE(answer);
  EXPECT_FALSE(pair.client.on_answer(*answer));
}

TEST(HandshakeTest, EveryFlippedBitOfTheProofIsRefused) {
  const Pair pair;
  for (std::size_t bit = 0; bit < 8 * kProofBytes; ++bit) {
    Proof proof = pair.proof;
    proof[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_EQ(pair.server.on_proof(proof, welcome).verdict, Verdict::bad_key);
  }
}

TEST(HandshakeTest, EveryFlippedBitOfTheAnswerIsRefused) {
  const Pair pair;
  const Answer answer = pair.server.on_proof(pair.proof, welcome).answer.value();
  for (std::size_t bit = 0; bit < 8 * kAnswerBytes; ++bit) {
    Answer changed = answer;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(pair.client.on_answer(changed));
  }
}

TEST(HandshakeTest, OtherGreetingsAreNoAnswerAtAll) {
  Pair pair;
  for (std::size_t i = 0; i < 8; ++i) {
    Greeting hello = pair.hello;
    hello[i] ^= std::byte{1};
    EXPECT_FALSE(pair.server.on_greeting(hello));
    Greeting reply = pair.reply;
    reply[i] ^= std::byte{1};
    EXPECT_FALSE(pair.client.on_greeting(reply));
  }
  EXPECT_FALSE(pair.server.on_greeting(pair.reply));
  EXPECT_FALSE(pair.client.on_greeting(pair.hello));
}

// A stranger sends back what it was sent: the proof of a client as that of a server, and the other
// way round. Equal nonces and identities, the best case for the stranger; the labels still differ.
TEST(HandshakeTest, AReflectedProofProvesNothing) {
  const Identity self = worker_identity();
  ClientHandshake client(kKey, self, filled(0x10));
  Greeting mirrored = client.greeting();
  std::memcpy(mirrored.data(), "SHEAF-OK", 8);
  const Proof proof = client.on_greeting(mirrored).value();
  Answer answer{};
  std::copy(proof.begin(), proof.end(), answer.begin() + kRefusalBytes);
  EXPECT_FALSE(client.on_answer(answer));

  const Pair pair;
  const Answer real = pair.server.on_proof(pair.proof, welcome).answer.value();
  Proof back;
  std::copy(real.begin() + kRefusalBytes, real.end(), back.begin());
  EXPECT_FALSE(pair.server.on_proof(back, welcome).answer);
}

TEST(HandshakeTest, AReplayedProofIsWorthNothingUnderANewNonce) {
  const Pair pair;
  ServerHandshake later(kKey, server_identity(), filled(0x21));
  ASSERT_TRUE(later.on_greeting(pair.hello));
  EXPECT_FALSE(later.on_proof(pair.proof, welcome).answer);
}

struct Refused {
  Verdict verdict;
  Identity client;
};
class HandshakeVerdictTest : public testing::TestWithParam<Refused> {};

// The verdict is proved by the server, so the client can trust the reason it prints.
TEST_P(HandshakeVerdictTest, ReachesTheClient) {
  const Pair pair(GetParam().client);
  const auto received = pair.server.on_proof(pair.proof, welcome);
  EXPECT_EQ(received.verdict, GetParam().verdict);
  const auto result = pair.client.on_answer(received.answer.value());
  ASSERT_TRUE(result);
  EXPECT_EQ(result->verdict, GetParam().verdict);
}

template <typename Change>
Identity changed(Change change) {
  Identity identity = worker_identity();
  change(identity);
  return identity;
}
INSTANTIATE_TEST_SUITE_P(
    All, HandshakeVerdictTest,
    testing::Values(
        Refused{Verdict::welcome, worker_identity()},
        Refused{Verdict::other_protocol, changed([](Identity& i) { i.protocol = 2; })},
        Refused{Verdict::other_security, changed([](Identity& i) { i.security = 1; })},
        Refused{Verdict::other_build, changed([](Identity& i) { i.build = filled(8); })},
        Refused{Verdict::other_config, changed([](Identity& i) { i.config = filled(8); })},
        Refused{Verdict::not_expected,
                changed([](Identity& i) { i.process.role = static_cast<Role>(9); })}),
    [](const auto& test) {
      return "Number" + std::to_string(static_cast<int>(test.param.verdict));
    });

TEST(HandshakeTest, WhoIsWelcomeIsAskedOnlyForAnEqualPeer) {
  for (const Verdict verdict : {Verdict::stale, Verdict::not_expected}) {
    const Pair pair;
    const auto received = pair.server.on_proof(pair.proof, [&](const Identity& client) {
      EXPECT_EQ(client, worker_identity());
      return verdict;
    });
    EXPECT_EQ(pair.client.on_answer(received.answer.value())->verdict, verdict);
  }
  const Pair other(changed([](Identity& i) { i.build = filled(8); }));
  other.server.on_proof(other.proof, [](const Identity&) {
    ADD_FAILURE() << "asked about another build";
    return Verdict::welcome;
  });
}

// ---- the key ------------------------------------------------------------------------------------

TEST(JobKeyTest, SurvivesItsHexadecimalForm) {
  const JobKey key;
  EXPECT_EQ(JobKey::from_hex(key.hex()).bytes(), key.bytes());
  EXPECT_NE(JobKey().bytes(), JobKey().bytes());
  EXPECT_EQ(JobKey(filled(0x0a)).hex().substr(0, 6), "0a0a0a");
}

TEST(JobKeyTest, AnythingElseIsRefusedWithoutQuotingIt) {
  const std::string good = kKey.hex();
  for (const std::string& bad :
       {std::string(), good.substr(1), good + "4", "x" + good.substr(1), "A" + good.substr(1)}) {
    try {
      JobKey::from_hex(bad);
      ADD_FAILURE() << "accepted " << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::auth);
      EXPECT_THAT(error.message(), HasSubstr("64 hexadecimal digits"));
      EXPECT_THAT(error.message(), Not(HasSubstr("4242")));
    }
  }
}

}  // namespace
}  // namespace sheaf::wire
