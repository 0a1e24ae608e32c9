#include "launcher/coordinator/replica_placement.h"

#include "common/base/error.h"

namespace sheaf::launcher {

ReplicaPlacement place_replicas(const std::vector<wire::ProcessInfo>& servers) {
  const auto count = static_cast<std::uint32_t>(servers.size());
  check(count >= 2, "a replica needs another server");
  ReplicaPlacement placement;
  std::vector<std::string> near;
  for (std::uint32_t id = 0; id < count; ++id) {
    std::uint32_t backup = (id + 1) % count;
    for (std::uint32_t step = 1; step < count; ++step) {
      const std::uint32_t other = (id + step) % count;
      if (servers[other].host_id == servers[id].host_id) continue;
      backup = other;
      break;
    }
    placement.backups.push_back(backup);
    if (servers[backup].host_id == servers[id].host_id) near.push_back(fmt::format("{}", id));
  }
  if (!near.empty()) {
    placement.warning = fmt::format(
        "the replica of server {} is on the same host: the job survives the loss of a server, not "
        "of that host",
        fmt::join(near, ", "));
  }
  return placement;
}

}  // namespace sheaf::launcher
