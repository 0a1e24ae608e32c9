// Carries the handshake (common/wire/handshake.h) over a connection, within a deadline.
#pragma once

#include "common/base/error.h"
#include "common/net/connection.h"
#include "common/wire/handshake.h"

namespace sheaf::net {

// What both sides of a connection know before it is made.
struct Credentials {
  wire::JobKey key;
  wire::Identity self;
};

// A peer that proved the key and is refused nevertheless.
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

// As the side that connected. Returns who the other is. Throws Fault::auth if it refuses us or
// cannot prove the key, Fault::network if it is silent for `limit` or something else entirely.
Task<wire::Identity> greet(Connection& connection, Credentials credentials, Duration limit);

// As the side that accepted. Throws Fault::auth if the peer does not know the key; Refused, when it
// has told the peer why, if it does.
Task<wire::Identity> receive_greeting(Connection& connection, Credentials credentials,
                                      wire::ServerHandshake::Admit admit, Duration limit);

}  // namespace sheaf::net
