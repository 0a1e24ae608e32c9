#include "launcher/rank/host_keeper.h"

#include "common/base/error.h"
#include "launcher/rank/keeper_process.h"

namespace sheaf::launcher {

HostKeeper::HostKeeper(RankSession& rank, bool outlives) {
  const Duration dead = rank.config.timeouts().dead;
  if (!outlives) {
    own_ = cluster::Keeper::start(rank.credentials, dead);
    return;
  }
  try {
    // Without anybody it waits for a successor, and as long again for one after that.
    process_ = start_keeper(rank.credentials, dead, 2 * (dead + std::chrono::seconds(10)));
  } catch (const Error& error) {
    rank.link.log(error.message(), true);
  }
}

void HostKeeper::announce(wire::Registration& registration) const {
  if (!process_) return;
  registration.keeper_pid = static_cast<std::uint32_t>(process_->pid);
  registration.keeper_started = process_->start_ticks;
}

void end_keeper(cluster::KeeperClient& keeper) {
  try {
    keeper.end();
  } catch (const Error&) {
    // Another rank of this host has ended it.
  }
}

}  // namespace sheaf::launcher
