// TLS 1.3 for one connection, without its socket: bytes of the wire go in and out through buffers
// of many records, so that one system call carries all of them. Both sides prove the job key, from
// which the one pre-shared key is derived, with a Diffie-Hellman exchange on top: who learns the
// key later can read nothing that was recorded. No certificates, tickets or other versions.
//
// The end of a stream is not signed (no close_notify): nothing in a job is ever said by closing.
// Owned by a Connection; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/wire/handshake.h"

struct ssl_st;
struct ssl_ctx_st;
struct ssl_session_st;
struct bio_st;
struct evp_md_st;

namespace sheaf::net {

// What is negotiated, for people.
inline constexpr const char* kTlsName = "TLS 1.3, AES-128-GCM, keyed by the job key";

class Tls {
 public:
  enum class Side { client, server };
  // After this many records a side changes its key: 128 GiB, well below what AES-GCM allows.
  static constexpr std::uint64_t kRecordsPerKey = 1ULL << 23;

  Tls(Side side, const wire::JobKey& key, std::uint64_t records_per_key = kRecordsPerKey);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  // Goes on with the opening handshake; outgoing() is to be sent after each call. `more`: when
  // further bytes have been received. `in_clear`: the peer speaks our protocol, but not TLS.
  enum class Handshake { more, done, in_clear, failed };
  Handshake handshake();
  // Equal on both sides and nowhere else. REQUIRES: handshake() is done.
  wire::Digest binding() const;

  // ---- the wire's side: where the next bytes are received, and what is to be sent
  std::span<std::byte> room();
  void received(std::size_t bytes) { in_end_ += bytes; }
  std::span<const std::byte> outgoing() const {
    return std::span(out_).subspan(out_begin_, out_end_ - out_begin_);
  }
  void sent(std::size_t bytes);

  // ---- our side; all return false if the stream is broken, and problem() says why
  // Fills `bytes` from the front and takes off what is filled; the rest waits for the wire.
  bool read(std::span<std::byte>& bytes);
  // Takes from the front of `bytes`; the rest waits until outgoing() has been sent.
  bool write(std::span<const std::byte>& bytes);
  // Ends a message: all that was written becomes outgoing, as far as there is space.
  bool flush();
  const std::string& problem() const { return problem_; }

 private:
  struct Free {
    void operator()(ssl_st* ssl) const;
    void operator()(ssl_ctx_st* context) const;
    void operator()(ssl_session_st* session) const;
  };
  static Tls& of(const ssl_st* ssl);
  static int use_key(ssl_st* ssl, const evp_md_st*, const unsigned char** name, std::size_t* length,
                     ssl_session_st** session);
  static int find_key(ssl_st* ssl, const unsigned char* name, std::size_t length,
                      ssl_session_st** session);
  static int put(bio_st* bio, const char* bytes, int count);
  static int take(bio_st* bio, char* bytes, int count);
  static long control(bio_st*, int command, long, void*);

  bool has_space() const;
  bool seal(std::span<const std::byte> record);
  bool broken(int result);

  std::uint64_t records_per_key_;
  std::uint64_t records_ = 0;  // under the present key
  std::unique_ptr<ssl_session_st, Free> key_;
  std::unique_ptr<ssl_ctx_st, Free> context_;
  std::unique_ptr<ssl_st, Free> ssl_;
  bool judged_ = false;  // the first bytes are TLS
  std::string problem_;
  std::vector<std::byte> in_;  // [in_begin_, in_end_) is received and not taken
  std::size_t in_begin_ = 0;
  std::size_t in_end_ = 0;
  std::vector<std::byte> out_;  // [out_begin_, out_end_) is to be sent
  std::size_t out_begin_ = 0;
  std::size_t out_end_ = 0;
  std::vector<std::byte> staged_;  // the beginning of a record: small pieces share one
  std::size_t staged_bytes_ = 0;
};

}  // namespace sheaf::net
