// A job whose roles are threads of this process, and exchange as the processes of one host do. For
// benchmarks and audits: each says what its workers do once they are connected.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "common/cluster/keeper.h"
#include "common/cluster/shutdown.h"
#include "launcher/config/run_config.h"
#include "launcher/rank/roles.h"

namespace sheaf::launcher {

class RoleThreads {
 public:
  // Makes the roles; the servers are bound, open and at work from here on. `config` outlives it,
  // and so do the changes.
  explicit RoleThreads(const RunConfig& config, const RoleChanges* changes = nullptr);
  ~RoleThreads();

  // In the thread of each worker: the sum of what its data needs, then, with its examples loaded,
  // its work. Without servers there is no exchange (null).
  struct WorkerBody {
    virtual ~WorkerBody() = default;
    virtual std::vector<double> sum(std::string_view tag,
                                    const std::map<std::uint32_t, std::vector<double>>& mine) = 0;
    virtual void work(WorkerRole& role, worker::PushPull* exchange) = 0;
  };
  // Returns when all have ended. Throws what ended the job, if it failed.
  void run(const std::vector<WorkerBody*>& bodies);

  cluster::Shutdown& shutdown() { return shutdown_; }
  // What the open steps of the servers lack. Thread-safe.
  std::vector<wire::Waiting> waiting_for() const;

 private:
  net::Credentials credentials(ProcessId process) const;
  Duration spin() const;
  void start_servers();
  void run_worker(std::uint32_t id, WorkerBody& body);

  std::unique_ptr<privacy::Mechanism> server_mechanism() const;  // null: servers add no noise

  const RunConfig& config_;
  const RoleChanges* changes_;
  cluster::Shutdown shutdown_;
  wire::JobKey key_;
  std::string host_;
  std::unique_ptr<cluster::Keeper> keeper_;
  std::unique_ptr<cluster::KeeperClient> memory_;  // null: the exchange goes over loopback TCP
  double noise_ = 0;                               // of a private job
  std::vector<std::unique_ptr<WorkerRole>> roles_;
  std::vector<std::unique_ptr<server::Server>> servers_;
  std::vector<wire::ProcessInfo> roster_;
  std::vector<std::jthread> serving_;  // last, so that they end first
};

}  // namespace sheaf::launcher
