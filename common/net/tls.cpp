#include "common/net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "common/base/error.h"

namespace sheaf::net {
namespace {

constexpr std::string_view kKeyLabel{"sheaf tls 1", 12};  // with its terminating zero
constexpr std::string_view kKeyName = "sheaf";
constexpr std::string_view kBindingLabel = "EXPORTER-sheaf-1";
constexpr std::string_view kInClear = "SHEAF";     // what our messages without TLS begin with
constexpr unsigned char kCipher[] = {0x13, 0x01};  // TLS_AES_128_GCM_SHA256

constexpr std::size_t kRecord = SSL3_RT_MAX_PLAIN_LENGTH;
constexpr std::size_t kSealed = kRecord + 256;  // with header, tag and a change of keys
constexpr std::size_t kHandshakeBuffer = 4096;  // all that a stranger gets
constexpr std::size_t kBuffer = 8 * kSealed;

// The method is immutable and shared; which Tls a BIO belongs to is in its data.
const BIO_METHOD* buffer_method(int (*put)(BIO*, const char*, int), int (*take)(BIO*, char*, int),
                                long (*control)(BIO*, int, long, void*)) {
  static const std::unique_ptr<BIO_METHOD, void (*)(BIO_METHOD*)> method = [&] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sheaf buffers");
    check(made != nullptr && BIO_meth_set_write(made, put) == 1 &&
              BIO_meth_set_read(made, take) == 1 && BIO_meth_set_ctrl(made, control) == 1,
          "OpenSSL takes our buffers");
    return std::unique_ptr<BIO_METHOD, void (*)(BIO_METHOD*)>(made, &BIO_meth_free);
  }();
  return method.get();
}

std::string first_reason() {
  const unsigned long code = ERR_peek_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "no reason given" : reason;
}

}  // namespace

void Tls::Free::operator()(ssl_st* ssl) const { SSL_free(ssl); }
void Tls::Free::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }
void Tls::Free::operator()(ssl_session_st* session) const { SSL_SESSION_free(session); }

Tls::Tls(Side side, const wire::JobKey& key, std::uint64_t records_per_key)
    : records_per_key_(records_per_key), in_(kHandshakeBuffer), out_(kHandshakeBuffer) {
  ERR_clear_error();
  context_.reset(SSL_CTX_new(TLS_method()));
  SSL_CTX* const context = context_.get();
  const bool ready = context != nullptr &&
                     SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
                     SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
                     SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") == 1 &&
                     SSL_CTX_set1_groups_list(context, "X25519:P-256") == 1 &&
                     SSL_CTX_set_num_tickets(context, 0) == 1;
  check(ready, "OpenSSL offers TLS 1.3 with AES-128-GCM and X25519");
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_clear_options(context, SSL_OP_ENABLE_MIDDLEBOX_COMPAT | SSL_OP_ALLOW_NO_DHE_KEX);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_psk_use_session_callback(context, &Tls::use_key);
  SSL_CTX_set_psk_find_session_callback(context, &Tls::find_key);

  ssl_.reset(SSL_new(context));
  BIO* const bio = BIO_new(buffer_method(&Tls::put, &Tls::take, &Tls::control));
  check(ssl_ != nullptr && bio != nullptr, "OpenSSL has memory");
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  if (side == Side::client) {
    SSL_set_connect_state(ssl_.get());
    // A server without the key may offer a certificate instead: none is ever trusted.
    SSL_set_verify(ssl_.get(), SSL_VERIFY_PEER, nullptr);
  } else {
    SSL_set_accept_state(ssl_.get());
  }

  const wire::JobKey secret(wire::hmac_sha256(key, std::as_bytes(std::span(kKeyLabel))));
  key_.reset(SSL_SESSION_new());
  const auto* bytes = reinterpret_cast<const unsigned char*>(secret.bytes().data());
  check(key_ != nullptr &&
            SSL_SESSION_set1_master_key(key_.get(), bytes, secret.bytes().size()) == 1 &&
            SSL_SESSION_set_cipher(key_.get(), SSL_CIPHER_find(ssl_.get(), kCipher)) == 1 &&
            SSL_SESSION_set_protocol_version(key_.get(), TLS1_3_VERSION) == 1,
        "OpenSSL takes a pre-shared key");
}

Tls::~Tls() = default;

// ---- what OpenSSL asks for ----------------------------------------------------------------------

Tls& Tls::of(const ssl_st* ssl) { return *static_cast<Tls*>(SSL_get_app_data(ssl)); }

int Tls::use_key(ssl_st* ssl, const evp_md_st*, const unsigned char** name, std::size_t* length,
                 ssl_session_st** session) {
  *name = reinterpret_cast<const unsigned char*>(kKeyName.data());
  *length = kKeyName.size();
  *session = of(ssl).key_.get();
  return SSL_SESSION_up_ref(*session);
}

int Tls::find_key(ssl_st* ssl, const unsigned char* name, std::size_t length,
                  ssl_session_st** session) {
  *session = nullptr;
  if (std::string_view(reinterpret_cast<const char*>(name), length) != kKeyName) return 1;
  *session = of(ssl).key_.get();
  return SSL_SESSION_up_ref(*session);
}

int Tls::put(bio_st* bio, const char* bytes, int count) {
  Tls& self = *static_cast<Tls*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const std::size_t size = static_cast<std::size_t>(count);
  if (self.out_.size() - self.out_end_ < size) return -1;  // has_space() was asked before
  std::memcpy(self.out_.data() + self.out_end_, bytes, size);
  self.out_end_ += size;
  return count;
}

int Tls::take(bio_st* bio, char* bytes, int count) {
  Tls& self = *static_cast<Tls*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const std::size_t size = std::min(static_cast<std::size_t>(count), self.in_end_ - self.in_begin_);
  if (size == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  std::memcpy(bytes, self.in_.data() + self.in_begin_, size);
  self.in_begin_ += size;
  return static_cast<int>(size);
}

long Tls::control(bio_st*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

// ---- the handshake ------------------------------------------------------------------------------

Tls::Handshake Tls::handshake() {
  if (!judged_ && in_end_ > 0) {
    if (in_end_ < kInClear.size()) return Handshake::more;
    judged_ = true;
    if (std::memcmp(in_.data(), kInClear.data(), kInClear.size()) == 0) {
      problem_ = "the peer does not speak TLS";
      return Handshake::in_clear;
    }
  }
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) return broken(result) ? Handshake::failed : Handshake::more;
  if (SSL_session_reused(ssl_.get()) != 1) {
    problem_ = "the peer did not use the job key";
    return Handshake::failed;
  }
  key_.reset();
  in_.resize(kBuffer);
  out_.resize(kBuffer);
  staged_.resize(kRecord);
  return Handshake::done;
}

wire::Digest Tls::binding() const {
  wire::Digest value;
  check(SSL_export_keying_material(ssl_.get(), reinterpret_cast<unsigned char*>(value.data()),
                                   value.size(), kBindingLabel.data(), kBindingLabel.size(),
                                   nullptr, 0, 0) == 1,
        "the channel can be named");
  return value;
}

// ---- bytes --------------------------------------------------------------------------------------

std::span<std::byte> Tls::room() {
  if (in_begin_ == in_end_) in_begin_ = in_end_ = 0;
  return std::span(in_).subspan(in_end_);
}

void Tls::sent(std::size_t bytes) {
  out_begin_ += bytes;
  if (out_begin_ == out_end_) out_begin_ = out_end_ = 0;
}

bool Tls::has_space() const { return out_.size() - out_end_ >= kSealed; }

// True if it is more than a wait for bytes.
bool Tls::broken(int result) {
  if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ) return false;
  if (problem_.empty()) problem_ = first_reason();
  return true;
}

bool Tls::read(std::span<std::byte>& bytes) {
  if (!problem_.empty()) return false;
  while (!bytes.empty()) {
    std::size_t got = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(ssl_.get(), bytes.data(), bytes.size(), &got);
    if (result != 1) return !broken(result);
    bytes = bytes.subspan(got);
  }
  return true;
}

bool Tls::write(std::span<const std::byte>& bytes) {
  while (!bytes.empty() && has_space()) {
    if (staged_bytes_ == 0 && bytes.size() >= kRecord) {
      if (!seal(bytes.first(kRecord))) return false;
      bytes = bytes.subspan(kRecord);
      continue;
    }
    const std::size_t count = std::min(bytes.size(), kRecord - staged_bytes_);
    std::memcpy(staged_.data() + staged_bytes_, bytes.data(), count);
    staged_bytes_ += count;
    bytes = bytes.subspan(count);
    if (staged_bytes_ == kRecord && !flush()) return false;
  }
  return true;
}

bool Tls::flush() {
  if (staged_bytes_ == 0 || !has_space()) return problem_.empty();
  return seal(std::span(staged_).first(std::exchange(staged_bytes_, 0)));
}

bool Tls::seal(std::span<const std::byte> record) {
  if (!problem_.empty()) return false;
  ERR_clear_error();
  if (records_++ == records_per_key_) {
    records_ = 1;
    SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED);  // goes out before the record
  }
  std::size_t taken = 0;
  const int result = SSL_write_ex(ssl_.get(), record.data(), record.size(), &taken);
  if (result == 1 && taken == record.size()) return true;
  if (!broken(result)) problem_ = "a record was not taken";
  return false;
}

}  // namespace sheaf::net
