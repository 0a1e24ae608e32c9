// Carries the handshake (common/wire/handshake.h) over a connection, within a deadline.
#pragma once

#include "common/net/connection.h"
#include "common/wire/handshake.h"

namespace sheaf::net {

// What both sides of a connection know before it is made.
struct Credentials {
  wire::JobKey key;
  wire::Identity self;
};

// As the side that connected. Returns who the other is. Throws Fault::auth if it refuses us or
// cannot prove the key, Fault::network if it is silent for `limit` or something else entirely.
Task<wire::Identity> greet(Connection& connection, Credentials credentials, Duration limit);

// As the side that accepted. Throws Fault::auth, and has told the peer why if it knew the key.
Task<wire::Identity> receive_greeting(Connection& connection, Credentials credentials,
                                      wire::ServerHandshake::Admit admit, Duration limit);

}  // namespace sheaf::net
