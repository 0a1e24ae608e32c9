// The checkpoints of a running job, as its coordinator sees them: when one is due, whose part is
// missing, and the manifest that makes the parts a checkpoint.
//
//   order every server → all in time → every part is on its disk → MANIFEST → verify → prune
//
// With error feedback workers have a part in all but version 0, and are ordered like servers.
// A version is ordered ahead of the job, which does not wait for it; if it comes too late, a later
// one is ordered.
// When it is near, servers are told of an older checkpoint, its base: they name its files for what
// has not changed since. Until such a version is settled its base is not removed. It is the newest
// one that has no file of the newest of all, so that two in a row never share what may be damaged.
// Plain code without threads or a clock: it belongs to the coordinator's thread,
// and gives away what is done to files, so that a slow disk delays no beat.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/checkpoint/store.h"
#include "common/wire/messages.h"
#include "launcher/run/run_result.h"

namespace sheaf::launcher {

class Checkpoints {
 public:
  struct Options {
    std::filesystem::path folder;
    std::string host;  // this one
    std::uint32_t servers = 1;
    std::uint32_t workers = 0;  // that keep residuals
    Duration every{};
    std::size_t keep = 2;
    Step last = 0;                  // of the job: no other version is ordered at or behind it
    checkpoint::Manifest manifest;  // of the job: the step and the files are filled in
    // To every server, or to every worker.
    std::function<void(Role, const wire::CheckpointAt&)> order;
    std::function<void(const wire::CheckpointBase&)> name_base;  // to every server
    // Runs a task that handles files, after those before it, while the object lives or not at all;
    // then what it posts, in the coordinator's thread.
    std::function<void(std::function<void()>)> in_background;
    std::function<void(std::function<void()>)> post;
    std::function<void(std::string_view)> warn;
    std::function<void()> on_settled;  // a version is on the disk, or will not be
  };
  // The newest checkpoint that there is, if the job goes on from one. `disk` outlives the object.
  Checkpoints(Options options, checkpoint::Disk& disk, std::optional<Version> newest,
              TimePoint now);

  // Takes one of a version that the job has not passed and will not pass before this is settled,
  // because it has not begun, or ends there.
  // `bases`: that another coordinator has named for it.
  void take(Version version, bool end, const std::set<Version>& bases = {});
  // Whether one of this version was ordered by time: it may have come too late, and a version is
  // handed over once. Nothing ends there.
  bool was_due(Version version) const { return due_.contains(version); }
  void on_tick(TimePoint now, Step begun);
  void on_answer(ProcessId process, const wire::CheckpointAnswer& answer);
  void on_saved(ProcessId process, const wire::Saved& saved);
  // Another process goes on in the place of a lost one: what that had not saved is ordered again,
  // of it alone, by `order`.
  void on_replaced(ProcessId process, const std::function<void(const wire::CheckpointAt&)>& order);
  // What was ordered by a coordinator before is taken back.
  void give_up(Version version);

  std::optional<Version> newest() const { return newest_; }  // that is on the disk
  // Of all that were made since this began: what they hold, and what was written for that.
  const CheckpointBytes& bytes() const { return bytes_; }
  // Whether nothing more will happen to this version.
  bool settled(Version version) const { return !under_way_.contains(version); }
  std::uint64_t failed() const { return failed_.size(); }
  // Whether one has failed since the newest.
  bool last_failed() const { return !failed_.empty() && *failed_.rbegin() > newest_.value_or(0); }

 private:
  struct UnderWay {
    bool end = false;
    std::set<ProcessId> answered;
    std::set<ProcessId> writers;
    std::set<ProcessId> done;  // whose part is on the disk, or will not be
    bool late = false;
    std::set<Version> bases;  // that its parts may name the files of
    checkpoint::Part files;
    std::size_t broken = 0;  // parts that could not be written
    std::string error;
  };
  bool has_residuals(Version version) const { return options_.workers != 0 && version != 0; }
  bool has_part(ProcessId process, Version version) const;
  void order(const wire::CheckpointAt& order);
  std::optional<Version> base() const;
  void name_base(Version version);
  void look_at(Version version);
  void commit(Version version, UnderWay& parts);
  void on_committed(Version version, const std::set<std::string>& names);
  void settle(Version version, std::string error);  // by value: it may be of what is erased
  std::string read_back(const checkpoint::Manifest& manifest);
  void prune(Version verified, const std::set<Version>& bases);
  void drop(Version version);

  const Options options_;
  std::optional<Version> newest_;
  CheckpointBytes bytes_;
  std::map<Version, std::set<std::string>> files_;  // of the newest that are kept
  std::map<Version, UnderWay> under_way_;
  std::optional<Version> periodic_;  // the one under way that was due by time
  TimePoint next_;
  Duration lead_;  // how far ahead of the job: twice as far after one that was late
  // Of the rate of steps: where the last second began, and the rate in the one before.
  TimePoint seen_at_;
  std::optional<Step> seen_;  // since the first tick
  double rate_ = 0;
  Version passed_ = 0;  // by ranks, which may be ahead of what is known of the workers
  std::set<Version> failed_;
  std::set<Version> due_;  // ordered by time, so far

  // From the first checkpoint on of the background alone.
  checkpoint::Disk& disk_;
  checkpoint::Store store_;
};

// The same part, as the wire carries it.
wire::Saved saved_message(Version version, const checkpoint::Part& part);
checkpoint::Part part_of(const wire::Saved& saved);

}  // namespace sheaf::launcher
