// Which server keeps a replica of which: the next one of another host, so that a host may be lost;
// else the next one. Decided once, when a job begins; who takes the place of a server keeps what
// that one kept. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/wire/messages.h"

namespace sheaf::launcher {

struct ReplicaPlacement {
  std::vector<std::uint32_t> backups;  // of each server
  std::string warning;                 // about those of one host; empty: there are none
};

// `servers` in the order of their ids. REQUIRES: two of them or more.
ReplicaPlacement place_replicas(const std::vector<wire::ProcessInfo>& servers);

}  // namespace sheaf::launcher
