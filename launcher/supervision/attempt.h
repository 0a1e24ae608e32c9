// One start of a job: mpirun with all its ranks and the coordinator that they report to, from the
// start until every rank of this host is gone, also a stopped one. A job that has lost a process
// gets another one, from a checkpoint; a key of its own keeps out what is left of those before. An
// attempt may also take over the ranks of a supervisor that has died: those that it then loses are
// replaced like its own.
// Used by one thread.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launcher/coordinator/coordinator.h"
#include "launcher/supervision/mpirun_command.h"
#include "launcher/system/child.h"
#include "launcher/system/file_tail.h"
#include "launcher/system/scratch_folder.h"

namespace sheaf::launcher {

// Ranks that are at work, and were started by a supervisor that has died.
struct Orphans {
  wire::JobKey key;
  ProcessIdentity mpirun;                  // that it had started; pid 0 if nobody knows
  std::vector<wire::ProcessInfo> members;  // newest incarnations
  std::set<ProcessId> gone;                // of them, those that are known to have ended
  std::uint32_t incarnation = 0;           // the newest of all
};

class Attempt {
 public:
  struct Options {
    const RunConfig& config;  // outlives the object, as do the next three
    const MpirunCommand& launch;
    JobRecord& record;
    ScratchFolder& scratch;  // for mpirun; removed when it is no longer needed
    std::string address;     // of the coordinator
    std::optional<checkpoint::Manifest> resumed = {};
    std::uint32_t incarnation = 0;        // of every rank
    std::filesystem::path program;        // that a rank runs
    std::optional<Orphans> orphans = {};  // taken over in the place of a start
    Restarts& restarts;  // used by its thread alone until the object is gone, as is the next
    FailingHosts& hosts;
  };
  // Starts it. Throws if that cannot be done.
  explicit Attempt(const Options& options);
  ~Attempt();

  // Readable when mpirun has ended; -1 once that is known, and where the kernel has no such handle.
  int pidfd() const { return child_gone_ || !child_ ? -1 : child_->pidfd(); }
  // How it ended, once it has. Call it about 20 times a second, and when pidfd() is readable.
  std::optional<Coordinator::Outcome> look();
  // Every rank has arrived.
  bool began() const { return coordinator_.began(); }

  // Of the newest process.
  std::uint32_t incarnation() const { return coordinator_.incarnation(); }

  // How many workers somebody wants it to go on with.
  std::optional<std::uint32_t> scaled_to() const { return coordinator_.scaled_to(); }

  // Asks the workers to stop after a common step.
  void drain() { coordinator_.drain(); }
  // Ends it at once, whatever the ranks do.
  void abort(wire::Failure failure) { coordinator_.abort(std::move(failure)); }
  // Waits until every rank is gone, or sees to it; that takes seconds at most. Returns the outcome:
  // `known`, or what the ending has brought.
  Coordinator::Outcome end(std::optional<Coordinator::Outcome> known);

 private:
  // A process that is to take the place of a lost one.
  struct Successor {
    wire::ProcessInfo lost;
    std::uint32_t incarnation = 0;
    std::unique_ptr<Child> child;  // null: not started yet
    bool gone = false;
  };
  std::filesystem::path log(const char* name) const;
  void read_errors();
  std::string last_errors();  // in lines of their own
  void watch_child();
  bool wait_for_mpirun(std::chrono::milliseconds patience);
  void end_mpirun();
  void watch_successors();
  void start(Successor& successor);

  const wire::JobKey key_;
  const RunConfig& config_;
  const std::filesystem::path program_;
  std::mutex mutex_;
  std::vector<Successor> wanted_;  // guarded
  ScratchFolder& scratch_;
  Coordinator coordinator_;
  const std::filesystem::path logs_;
  FileTail errors_;
  std::optional<Child> child_;  // mpirun; nothing if another supervisor has started it,
  ProcessIdentity mpirun_;      // as this one
  std::vector<Successor> successors_;
  std::vector<std::string> last_errors_;
  bool child_gone_ = false;
  TimePoint child_gone_at_{};
  bool child_missed_ = false;
};

}  // namespace sheaf::launcher
