// What both roles of a rank need while it runs: its link to the coordinator, the way out when a
// part of it fails, and the phase that an error names. For rank.cpp and the files of its two roles.
// Belongs to the rank's main thread; the link and the shutdown may be used from any.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/cluster/control_link.h"
#include "common/cluster/keeper.h"
#include "common/cluster/shutdown.h"
#include "launcher/rank/last_coordinator.h"
#include "launcher/rank/rank.h"

namespace sheaf::launcher {

struct RankSession {
  const RunConfig& config;
  const Seat& seat;
  net::Credentials credentials;
  cluster::Shutdown shutdown;
  cluster::ControlLink link;
  // In the process of another rank, which accounts for what that uses. Set before it connects.
  bool guest = false;
  std::string phase = "connecting to the coordinator";
  std::unique_ptr<LastCoordinator> last;  // if this rank ends the job

  RankSession(const RunConfig& c, const Seat& s);

  wire::Registration registration() const;
  // Waits for the start; from then on, under `sheaf train`, for another coordinator, too, if the
  // one that there is dies.
  wire::Start enroll(const wire::Registration& registration);
  std::function<void(const std::string&)> warn();
  // The secret of a private job that its role was told; no core dump of this process from here on.
  // Throws Fault::internal if it was told none.
  static wire::JobKey secret(const wire::Start& start);
  bool uses_keeper() const;
  // The way to the memory that the host shares, if there is a server and a worker to share it.
  std::unique_ptr<cluster::KeeperClient> keeper(const std::vector<wire::ProcessInfo>& roster);
  Duration spin(const std::vector<wire::ProcessInfo>& roster) const;
  static bool has_worker_here(const std::vector<wire::ProcessInfo>& roster);
  // What to tell the coordinator. Where another rank is at fault, the coordinator says the phase.
  wire::Failure failure(const std::exception_ptr& error) const;
  std::string where() const;
};

// Hears of servers that have taken the place of others.
class Moves {
 public:
  Moves(RankSession& rank, std::function<void(const wire::ProcessInfo&)> hear) : rank_(rank) {
    rank.link.on_moved(std::move(hear));
  }
  ~Moves() { rank_.link.on_moved({}); }
  Moves(const Moves&) = delete;
  Moves& operator=(const Moves&) = delete;

 private:
  RankSession& rank_;
};

// What this process has used so far, for its report.
wire::Finished resources();

// To the end of the job, in rank_server.cpp and rank_worker.cpp.
wire::Finished serve(RankSession& rank);
wire::Finished work(RankSession& rank);

}  // namespace sheaf::launcher
