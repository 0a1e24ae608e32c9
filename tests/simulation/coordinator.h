// The coordinator of a simulated job: the real Membership, Replacements and Checkpoints, and as
// much of launcher/coordinator as puts them together. What it gives to a thread of its own in a
// real job happens here later, one task after the other.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/cluster/membership.h"
#include "launcher/coordinator/checkpoints.h"
#include "launcher/coordinator/replacements.h"
#include "launcher/coordinator/speculation.h"
#include "tests/common/checkpoint/watched_disk.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/server_process.h"

namespace sheaf::simulation {

class Coordinator final : public Process {
 public:
  // Of ranks of that incarnation; they are started by the caller.
  Coordinator(Cluster& cluster, std::uint32_t first);

  void on_registered(Process& process);
  void on_heard(ProcessId process, std::uint32_t number);
  void on_closed(ProcessId process, std::uint32_t number);
  void on_finished(ProcessId worker);
  void on_moved(ProcessId server);
  void on_offer(std::uint32_t worker, Step step);
  void on_waiting(const wire::Waiting& waiting);
  void on_clock(std::uint32_t server, const wire::PartitionClock& clock);
  void on_answer(std::uint32_t server, const wire::CheckpointAnswer& answer);
  void on_saved(std::uint32_t server, const wire::Saved& saved);
  void tick();
  // Whether it has a connection to us.
  bool knows(const Process& process) const;

  std::optional<Version> newest() const {
    return checkpoints_ ? checkpoints_->newest() : std::nullopt;
  }
  std::string status() const;

 private:
  using Event = cluster::Membership::Event;
  void begin_job();
  void adopt(const wire::ProcessInfo& lost);
  void handle(const std::vector<Event>& events);
  bool replace(const Event& event);
  void complete_if_saved();
  void run_next_task();
  Beginning beginning() const;
  Process* find(ProcessId process) const;  // who has registered and is not lost
  template <typename P>
  void tell(ProcessId to, std::function<void(P&)> what);

  Cluster& cluster_;
  const std::vector<std::uint32_t> backups_;  // of each server, if replicas are kept
  cluster::Membership membership_;
  launcher::Replacements replacements_;
  launcher::Speculation speculation_;
  checkpoint::WatchedDisk disk_;
  std::unique_ptr<launcher::Checkpoints> checkpoints_;
  std::map<ProcessId, Process*> peers_;
  std::deque<std::function<void()>> tasks_;
  bool running_ = false;
};

}  // namespace sheaf::simulation
