// Which process a recorded pid meant. A pid alone is reused; with the time at which its process
// started it is not, until the host restarts. For processes of this host. Thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "common/base/clock.h"

namespace sheaf::launcher {

struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;  // clock ticks since boot, field 22 of /proc/PID/stat
  bool operator==(const ProcessIdentity&) const = default;
};

// The process that runs as `pid` now; nothing if there is none or it has ended (a zombie).
std::optional<ProcessIdentity> identify(pid_t pid);

// Signals the process if it is still that very one. False if it has ended, if the pid is another's
// by now, or if this user may not signal it.
bool send_signal(const ProcessIdentity& process, int signal);

// Kills it and waits until it has ended, if it has not already. False if it has not within
// `patience`.
bool end_process(const ProcessIdentity& process, Duration patience);

}  // namespace sheaf::launcher
