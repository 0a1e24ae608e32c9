// The keeper of a host's shared memory, as a rank sees to it before anybody is told of the rank:
// whoever knows the roster finds a keeper on each host that needs one.
#pragma once

#include <memory>
#include <optional>

#include "common/cluster/keeper.h"
#include "launcher/rank/rank_session.h"
#include "launcher/system/process_identity.h"

namespace sheaf::launcher {

class HostKeeper {
 public:
  // If the host has none yet, this rank is the keeper, or, where memory is to outlive it, starts a
  // process that is. A failure is logged: then nothing is shared.
  HostKeeper(RankSession& rank, bool outlives);

  // So that a supervisor can end the process that was started.
  void announce(wire::Registration& registration) const;

 private:
  std::unique_ptr<cluster::Keeper> own_;
  std::optional<ProcessIdentity> process_;
};

// The job is over: a keeper that is a process ends, unless another rank of the host has ended it.
void end_keeper(cluster::KeeperClient& keeper);

}  // namespace sheaf::launcher
