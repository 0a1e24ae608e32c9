// What a process must know of the host that it runs on. Thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "common/base/clock.h"
#include "common/wire/messages.h"

namespace sheaf::launcher {

std::string host_name();

// Equal for processes that can reach each other over loopback and share memory: same kernel, same
// host name, same network namespace.
std::string host_identity();

// How long threads that share memory look for work before they sleep: not at all if the ranks of
// `roster` on this host, with `worker_threads` and `server_threads` each, already need more cores
// than this process may use.
Duration spin_on_host(std::span<const wire::ProcessInfo> roster, std::uint32_t worker_threads,
                      std::uint32_t server_threads);

}  // namespace sheaf::launcher
