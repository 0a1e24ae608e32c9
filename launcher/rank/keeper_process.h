// The keeper of a host as a process of its own, so that the memory of a server outlives it: started
// by the first server that finds none, in a session of its own, with nothing of the job on its
// command line. It ends with the job, or when nobody has been connected to it for a while.
#pragma once

#include <istream>
#include <optional>

#include "common/base/clock.h"
#include "common/net/handshake_io.h"
#include "launcher/system/process_identity.h"

namespace sheaf::launcher {

// Starts one and waits until it answers, at most `limit`. It gives a client `limit` to answer, and
// ends when it has had none for `idle`. Nothing if this host has a keeper already. Throws
// Fault::internal if it cannot be started.
std::optional<ProcessIdentity> start_keeper(const net::Credentials& credentials, Duration limit,
                                            Duration idle);

// `sheaf keeper`: what start_keeper() starts. Returns the exit code.
int keep(std::istream& orders);

}  // namespace sheaf::launcher
