// What the pushes of a worker's rank leave out, where the job keeps it: in memory of the host that
// outlives the rank, if there is any. It is restored from the checkpoint that the job goes on from,
// or taken over from whom the rank follows, and saved with the next checkpoints, as the coordinator
// orders them. Belongs to the rank's main thread; orders come in that of its link.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "common/checkpoint/posix_disk.h"
#include "launcher/rank/host_keeper.h"
#include "launcher/rank/rank_session.h"
#include "launcher/rank/roles.h"

namespace sheaf::launcher {

class WorkerResiduals {
 public:
  // Before the rank registers. Both outlive the object, which does nothing if the job keeps none.
  WorkerResiduals(RankSession& rank, WorkerRole& role);
  ~WorkerResiduals();
  WorkerResiduals(const WorkerResiduals&) = delete;
  WorkerResiduals& operator=(const WorkerResiduals&) = delete;

  // What lies on this host.
  void announce(wire::Registration& registration) const;
  // The job begins, or goes on from a checkpoint or where another process has ended, which is seen
  // to. Throws Fault::checkpoint if the checkpoint is damaged, Fault::network if that does not end.
  void begin(const wire::Start& start);
  // Null if none are kept.
  worker::ResidualSaver* saver() { return saver_ ? &*saver_ : nullptr; }
  // The job is over.
  void end();

 private:
  void take(const wire::CheckpointAt& order);
  void pass_on(const wire::CheckpointAt& order);
  void restore(const wire::Start& start);
  void adopt(const wire::ProcessInfo& predecessor);
  void open_saver(const wire::Start& start);

  RankSession& rank_;
  WorkerRole& role_;
  std::optional<HostKeeper> keeper_;
  std::unique_ptr<cluster::KeeperClient> client_;
  checkpoint::PosixDisk disk_;
  std::mutex mutex_;
  bool open_ = false;                      // guarded
  std::vector<wire::CheckpointAt> early_;  // guarded: that came before
  std::optional<worker::ResidualSaver> saver_;
};

}  // namespace sheaf::launcher
