// Processes that a running job has lost, and those that take their places while everybody else goes
// on.
//
//   a worker: lost → (a pause) → a process is started → it registers → every server says how far
//   its partitions are → it begins at the first step that some chunk lacks
//   a server: lost → (a pause) → a process is started → it registers → it goes on with the snapshot
//   or the replica of the lost one, and says so
//
// Plain code: no sockets, no processes, no clock. Belongs to the coordinator's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/wire/messages.h"
#include "launcher/coordinator/restarts.h"

namespace sheaf::launcher {

class Replacements {
 public:
  struct Options {
    std::uint32_t servers = 1;
    std::uint32_t workers = 1;
    std::uint32_t partitions = 1;
    std::uint32_t incarnation = 0;  // of all ranks that the job began with
    // How often and how soon; outlives the object. Null: nobody is replaced.
    Restarts* budget = nullptr;
    bool servers_return = false;  // they keep snapshots, or replicas of each other
    // Of each server the one with whose replica alone another can go on; empty: it has a snapshot.
    std::vector<std::uint32_t> backups = {};
    // Starts a process of that incarnation in its place.
    std::function<void(const wire::ProcessInfo& lost, std::uint32_t incarnation)> start = {};
    std::function<void(const wire::PartitionClock&)> ask = {};     // every server
    std::function<void(ProcessId worker, Step first)> begin = {};  // it is told to
    // A server is told to go on with what that one has left.
    std::function<void(const wire::ProcessInfo& lost)> adopt = {};
  };
  explicit Replacements(Options options) : options_(std::move(options)) {}

  // A process is lost; the job's newest checkpoint is that. Its successor, which is started after
  // the pause; nothing if it gets none: it is a server that left nothing to go on with, or one that
  // could not, or there have been too many losses. Those that come while a successor is awaited
  // count as one with that.
  struct Successor {
    std::uint32_t incarnation = 0;
    Duration pause{};
  };
  std::optional<Successor> on_lost(const wire::ProcessInfo& lost, std::optional<Step> newest,
                                   TimePoint now);
  // The lost worker that gets none is taken on by a survivor: the incarnation that it then has.
  // Nothing if that has been tried since the newest checkpoint: whatever ends its hosts would end
  // the next one, too.
  std::optional<std::uint32_t> on_moved(const wire::ProcessInfo& lost, std::optional<Step> newest,
                                        TimePoint now);
  // Whether a successor of it has not begun yet.
  bool awaits(ProcessId process) const { return lost_.contains(process); }
  void on_tick(TimePoint now);
  // A successor is here. REQUIRES: on_lost() has named it.
  void on_registered(ProcessId process);
  // A server has gone on where its predecessor ended. False if nobody waits for that.
  bool on_adopted(ProcessId server);
  void on_clock(std::uint32_t server, const wire::PartitionClock& clock);

 private:
  struct Lost {
    wire::ProcessInfo info;
    std::uint32_t incarnation = 0;  // of its successor
    TimePoint start_at{};
    bool started = false;
    bool registered = false;
    std::map<std::uint32_t, Step> clocks;  // by server
  };
  PartitionRange hosted(std::uint32_t worker) const;
  bool lacks_backup(std::uint32_t server) const;
  void start(Lost& lost);
  void ask(ProcessId worker);

  const Options options_;
  std::uint32_t started_ = 0;
  std::map<ProcessId, std::optional<Step>> moved_;  // the newest checkpoint then
  std::map<ProcessId, Lost> lost_;                  // that have no successor at work yet
};

}  // namespace sheaf::launcher
