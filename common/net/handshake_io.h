// Carries the handshake (common/wire/handshake.h) over a connection, within a deadline; and before
// it, where the connection is to be encrypted, that of TLS.
#pragma once

#include <optional>
#include <string_view>

#include "common/base/error.h"
#include "common/net/connection.h"
#include "common/wire/handshake.h"

namespace sheaf::net {

// Which connections are encrypted. Each end decides for itself, from the addresses of its own
// socket: nobody on the way can talk it out of it, and nothing is negotiated. Local sockets, which
// leave no host and pass descriptors, never are.
enum class Encryption {
  between_hosts,  // unless both ends are of one host
  always,
  never,
};
// "auto", "tls" or "none" of network.encryption.
Encryption parse_encryption(std::string_view word);

// What both sides of a connection know before it is made.
struct Credentials {
  wire::JobKey key;
  wire::Identity self;  // its security level follows from `encryption` and the connection
  Encryption encryption = Encryption::between_hosts;
};

// A peer that proved the key and is refused nevertheless; or that refuses us.
class Refused : public Error {
 public:
  Refused(const wire::Identity& peer, wire::Verdict verdict, std::string message,
          std::source_location where)
      : Error(Fault::auth, std::move(message), where), peer_(peer), verdict_(verdict) {}
  const wire::Identity& peer() const { return peer_; }
  wire::Verdict verdict() const { return verdict_; }

 private:
  wire::Identity peer_;
  wire::Verdict verdict_;
};

// As the side that connected, to `whom` and nobody else (nothing: to anybody of this job). Returns
// what the other has proved. Throws Refused if it is of this job and refuses us, Fault::auth if it
// cannot prove the key, is somebody else or is set to another encryption; Fault::network if it is
// silent for `limit` or something else entirely.
Task<wire::Identity> greet(Connection& connection, Credentials credentials,
                           std::optional<ProcessId> whom, Duration limit);

// As the side that accepted. Throws Fault::auth if the peer does not know the key; Refused, when it
// has told the peer why, if it does.
Task<wire::Identity> receive_greeting(Connection& connection, Credentials credentials,
                                      wire::ServerHandshake::Admit admit, Duration limit);

}  // namespace sheaf::net
