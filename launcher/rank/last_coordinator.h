// The end of a job whose supervisor has died and that nobody has taken over: server 0 takes it over
// itself, has the workers finish a common step, sees it saved, and ends all. The run directory then
// says what it says of a job that was preempted.
// begin() and the rest belong to different threads, one after the other.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "common/cluster/control_link.h"
#include "launcher/coordinator/coordinator.h"
#include "launcher/run/run_lock.h"

namespace sheaf::launcher {

// What RUN/control.json says now, for a rank that has lost its coordinator.
cluster::ControlLink::Search::Found look_for_coordinator(const std::filesystem::path& run,
                                                         const wire::JobKey& key);

class LastCoordinator {
 public:
  // Null, and said why on stderr, if it cannot be: another supervisor may have the directory.
  static std::unique_ptr<LastCoordinator> begin(const std::filesystem::path& run,
                                                const wire::JobKey& key,
                                                const std::string& address) noexcept;

  // Waits for the end, at most so long, and writes the result. Returns its exit code.
  int close(Duration limit);

 private:
  LastCoordinator(const std::filesystem::path& run, const wire::JobKey& key,
                  const std::string& address);

  RunLock lock_;
  RunConfig config_;
  JobRecord record_;
  std::unique_ptr<Coordinator> coordinator_;
};

}  // namespace sheaf::launcher
