// TLS without sockets: what each side sends is carried to the other by the test, which may change
// it on the way.
#include "common/net/tls.h"

#include <gmock/gmock.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "common/base/random.h"

namespace sheaf::net {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

constexpr std::size_t kRecord = 16384;
constexpr std::size_t kOverhead = 22;  // of a record: header 5, type 1, tag 16

const wire::JobKey kTlsKey(wire::Digest{std::byte{0x42}});
const wire::JobKey kOtherTlsKey(wire::Digest{std::byte{0x43}});

Bytes random_text(std::size_t size, std::uint64_t seed = 1) {
  Stream stream(seed, Purpose::test);
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(stream.next() & 0xff);
  return bytes;
}

// Everything that waits to be sent.
Bytes take(Tls& from) {
  const auto out = from.outgoing();
  Bytes bytes(out.begin(), out.end());
  from.sent(bytes.size());
  return bytes;
}

// As the wire delivers: as much at a time as the other side has room for.
std::size_t give(Tls& to, std::span<const std::byte> bytes) {
  const auto room = to.room();
  const std::size_t count = std::min(room.size(), bytes.size());
  std::copy_n(bytes.begin(), count, room.begin());
  to.received(count);
  return count;
}

struct Pair {
  using Alter = std::function<void(int flight, Bytes&)>;

  explicit Pair(const wire::JobKey& client_key = kTlsKey,
                std::uint64_t records_per_key = Tls::kRecordsPerKey)
      : client(Tls::Side::client, client_key, records_per_key),
        server(Tls::Side::server, kTlsKey, records_per_key) {}

  // The three flights: client, server, client.
  void shake(const Alter& alter = [](int, Bytes&) {}) {
    const auto carry = [&](Tls& from, Tls& to, int flight) {
      Bytes bytes = take(from);
      alter(flight, bytes);
      give(to, bytes);
    };
    client_state = client.handshake();
    carry(client, server, 1);
    server_state = server.handshake();
    carry(server, client, 2);
    client_state = client.handshake();
    carry(client, server, 3);
    if (server_state == Tls::Handshake::more) server_state = server.handshake();
  }
  bool both_done() const {
    return client_state == Tls::Handshake::done && server_state == Tls::Handshake::done;
  }

  Tls client;
  Tls server;
  Tls::Handshake client_state = Tls::Handshake::more;
  Tls::Handshake server_state = Tls::Handshake::more;
};

// Encrypts and decrypts all of `pieces` as one message; returns how many bytes were on the wire.
std::size_t carry_message(Tls& from, Tls& to, const std::vector<Bytes>& pieces) {
  Bytes expected;
  for (const Bytes& piece : pieces) expected.insert(expected.end(), piece.begin(), piece.end());
  Bytes found(expected.size());
  std::span<std::byte> rest(found);
  std::size_t on_wire = 0;
  bool whole = true;
  const auto deliver = [&] {
    const Bytes wire = take(from);
    on_wire += wire.size();
    for (std::span<const std::byte> left(wire); !left.empty();) {
      const std::size_t count = give(to, left);
      whole = count > 0 && to.read(rest);
      if (!whole) return;
      left = left.subspan(count);
    }
  };
  for (const Bytes& piece : pieces) {
    for (std::span<const std::byte> left(piece); whole && !left.empty();) {
      whole = from.write(left);
      if (!left.empty()) deliver();
    }
  }
  do {
    whole = whole && from.flush();
    deliver();
  } while (whole && !from.outgoing().empty());
  EXPECT_TRUE(whole) << from.problem() << to.problem();
  EXPECT_TRUE(rest.empty()) << rest.size() << " bytes are missing";
  EXPECT_TRUE(found == expected);
  return on_wire;
}

// ---- an honest exchange -------------------------------------------------------------------------

TEST(TlsTest, BothSidesAgreeOnAChannelOfTheirOwn) {
  Pair pair;
  pair.shake();
  ASSERT_TRUE(pair.both_done()) << pair.client.problem() << pair.server.problem();
  EXPECT_EQ(pair.client.binding(), pair.server.binding());
  Pair other;
  other.shake();
  EXPECT_NE(other.client.binding(), pair.client.binding());
}

TEST(TlsTest, MessagesOfAnySizeArriveInBothDirections) {
  Pair pair;
  pair.shake();
  for (const std::size_t size : {1UL, 63UL, 64UL, kRecord - 1, kRecord, kRecord + 1, 1UL << 20}) {
    carry_message(pair.client, pair.server, {random_text(size)});
    carry_message(pair.server, pair.client, {random_text(size, 2), random_text(3, size)});
  }
}

TEST(TlsTest, AHeaderCostsNoRecordOfItsOwn) {
  Pair pair;
  pair.shake();
  const std::size_t payload = 256 << 10;
  EXPECT_EQ(carry_message(pair.client, pair.server, {random_text(64), random_text(payload)}),
            64 + payload + (payload / kRecord + 1) * kOverhead);
  std::vector<Bytes> headers(16, random_text(64));
  EXPECT_EQ(carry_message(pair.client, pair.server, headers), 16 * 64 + kOverhead);
}

TEST(TlsTest, TheKeyChangesWithTheRecordsItHasServed) {
  Pair pair(kTlsKey, 3);
  pair.shake();
  constexpr std::size_t kKeyUpdate = 5 + kOverhead;
  // Three records under the first key, three under the second, and one under the third.
  EXPECT_EQ(carry_message(pair.client, pair.server, {random_text(7 * kRecord)}),
            7 * (kRecord + kOverhead) + 2 * kKeyUpdate);
  carry_message(pair.server, pair.client, {random_text(40 * kRecord)});
  carry_message(pair.client, pair.server, {random_text(40 * kRecord)});
}

// ---- everybody else -----------------------------------------------------------------------------

TEST(TlsTest, AnotherKeyIsNoticedByBothSides) {
  Pair pair(kOtherTlsKey);
  pair.shake();
  EXPECT_EQ(pair.server_state, Tls::Handshake::failed);
  EXPECT_EQ(pair.client_state, Tls::Handshake::failed);
  EXPECT_THAT(pair.server.problem(), HasSubstr("binder"));
  EXPECT_THAT(pair.client.problem(), HasSubstr("alert"));
}

TEST(TlsTest, AFlippedBitOfTheHandshakeNeverGivesTwoDifferentViews) {
  std::size_t flipped = 0;
  std::size_t harmless = 0;
  for (int flight = 1; flight <= 3; ++flight) {
    bool inside = true;
    for (std::size_t at = 0; inside; ++at) {
      Pair pair;
      pair.shake([&](int number, Bytes& bytes) {
        if (number != flight) return;
        inside = at < bytes.size();
        if (inside) bytes[at] ^= std::byte{0x10};
      });
      if (!inside) break;
      ++flipped;
      if (!pair.both_done()) continue;
      ++harmless;  // what a record says of its version is read by nobody
      EXPECT_EQ(pair.client.binding(), pair.server.binding());
    }
  }
  EXPECT_GT(flipped, 300U);
  EXPECT_LE(harmless, 4U);
}

TEST(TlsTest, AFlippedBitOfARecordGivesNoData) {
  Bytes found(100);
  for (std::size_t at = 0; at < 100 + kOverhead; ++at) {
    Pair pair;
    pair.shake();
    const Bytes text = random_text(100);
    std::span<const std::byte> left(text);
    ASSERT_TRUE(pair.client.write(left) && pair.client.flush());
    Bytes wire = take(pair.client);
    ASSERT_EQ(wire.size(), 100 + kOverhead);
    wire[at] ^= std::byte{1};
    give(pair.server, wire);
    std::span<std::byte> rest(found);
    const bool whole = pair.server.read(rest);
    EXPECT_EQ(rest.size(), found.size()) << "byte " << at;
    // Only a length that has grown can still be waiting for more.
    EXPECT_TRUE(!whole || at == 3 || at == 4) << "byte " << at;
    EXPECT_EQ(pair.server.problem().empty(), whole);
    EXPECT_FALSE(!whole && pair.server.read(rest)) << "a broken stream stays broken";
  }
}

TEST(TlsTest, RecordsCannotBeRepeatedLeftOutOrExchanged) {
  for (const std::vector<std::size_t>& order :
       {std::vector<std::size_t>{0, 0}, {1, 0}, {1, 2}, {0, 2}}) {
    Pair pair;
    pair.shake();
    std::vector<Bytes> records;
    for (std::uint64_t i = 0; i < 3; ++i) {
      const Bytes text = random_text(50, i);
      std::span<const std::byte> left(text);
      ASSERT_TRUE(pair.client.write(left) && pair.client.flush());
      records.push_back(take(pair.client));
    }
    for (const std::size_t i : order) give(pair.server, records[i]);
    Bytes found(100);
    std::span<std::byte> rest(found);
    EXPECT_FALSE(pair.server.read(rest));
  }
}

TEST(TlsTest, OurOwnProtocolInTheClearIsRecognised) {
  for (const Tls::Side side : {Tls::Side::client, Tls::Side::server}) {
    Tls tls(side, kTlsKey);
    tls.handshake();
    const Bytes word = [] {
      const std::string_view text = "SHEAF-HI";
      const auto* begin = reinterpret_cast<const std::byte*>(text.data());
      return Bytes(begin, begin + text.size());
    }();
    give(tls, std::span(word).first(4));
    EXPECT_EQ(tls.handshake(), Tls::Handshake::more);
    give(tls, std::span(word).subspan(4));
    EXPECT_EQ(tls.handshake(), Tls::Handshake::in_clear);
  }
}

TEST(TlsTest, GarbageIsRefusedAtOnce) {
  for (const char* text : {"GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff\xff\xff\xff\xff",
                           "\x16\x03\x01\xff\xff too long for a record"}) {
    Tls server(Tls::Side::server, kTlsKey);
    const std::string_view view(text);
    give(server, std::as_bytes(std::span(view)));
    EXPECT_EQ(server.handshake(), Tls::Handshake::failed) << text;
  }
}

// ---- a peer with OpenSSL's own defaults, without the key ----------------------------------------

class Foreign {
 public:
  explicit Foreign(bool server) : context_(SSL_CTX_new(TLS_method()), &SSL_CTX_free) {
    if (server) certify();
    ssl_.reset(SSL_new(context_.get()));
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_.get(), in_, out_);
    if (server) {
      SSL_set_accept_state(ssl_.get());
    } else {
      SSL_set_connect_state(ssl_.get());
    }
  }
  bool handshake() { return SSL_do_handshake(ssl_.get()) == 1; }
  void allow_1_2_only() { SSL_set_max_proto_version(ssl_.get(), TLS1_2_VERSION); }
  Bytes outgoing() {
    Bytes bytes(BIO_ctrl_pending(out_));
    if (!bytes.empty()) BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  void incoming(const Bytes& bytes) {
    if (!bytes.empty()) BIO_write(in_, bytes.data(), static_cast<int>(bytes.size()));
  }

 private:
  void certify() {  // by itself
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                  &EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), &X509_free);
    X509_set_version(certificate.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
    X509_set_pubkey(certificate.get(), key.get());
    EXPECT_GT(X509_sign(certificate.get(), key.get(), EVP_sha256()), 0);
    EXPECT_EQ(SSL_CTX_use_certificate(context_.get(), certificate.get()), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey(context_.get(), key.get()), 1);
  }

  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, &SSL_free};
  BIO* in_;
  BIO* out_;
};

// It may offer a certificate instead of the key; none is worth anything here.
TEST(TlsTest, AServerWithACertificateIsNotBelieved) {
  Foreign server(true);
  Tls client(Tls::Side::client, kTlsKey);
  ASSERT_EQ(client.handshake(), Tls::Handshake::more);
  server.incoming(take(client));
  server.handshake();
  const Bytes flight = server.outgoing();
  EXPECT_GT(flight.size(), 500U) << "the foreign server was expected to send its certificate";
  give(client, flight);
  EXPECT_EQ(client.handshake(), Tls::Handshake::failed);
  EXPECT_THAT(client.problem(), HasSubstr("certificate"));
}

TEST(TlsTest, AClientWithoutTheKeyIsRefused) {
  for (const bool old : {false, true}) {
    Foreign client(false);
    if (old) client.allow_1_2_only();
    client.handshake();
    Tls server(Tls::Side::server, kTlsKey);
    give(server, client.outgoing());
    EXPECT_EQ(server.handshake(), Tls::Handshake::failed) << "TLS 1.2: " << old;
  }
}

}  // namespace
}  // namespace sheaf::net
