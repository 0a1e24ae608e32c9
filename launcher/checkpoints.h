// The checkpoints of a running job, as its coordinator sees them: when one is due, whose part is
// missing, and the manifest that makes the parts a checkpoint.
//
//   order every server → all in time → every part is on its disk → MANIFEST → verify → prune
//
// A version is ordered ahead of the job, which does not wait for it; if it comes too late, a later
// one is ordered. Files are handled on a thread of its own, so that a slow disk delays no beat.
// Everything else belongs to the coordinator's thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "common/checkpoint/posix_disk.h"
#include "common/checkpoint/store.h"
#include "common/wire/messages.h"

namespace sheaf::launcher {

class Checkpoints {
 public:
  struct Options {
    std::filesystem::path folder;
    std::string host;  // this one
    std::uint32_t servers = 1;
    Duration every{};
    std::size_t keep = 2;
    Step last = 0;                  // of the job: no other version is ordered at or behind it
    checkpoint::Manifest manifest;  // of the job: the step and the files are filled in
    std::function<void(const wire::CheckpointAt&)> order;  // to every server
    std::function<void(std::function<void()>)> post;       // into the coordinator's thread
    std::function<void(std::string_view)> warn;
    std::function<void()> on_settled;  // a version is on the disk, or will not be
  };
  // The newest checkpoint that there is, if the job goes on from one.
  Checkpoints(Options options, std::optional<Version> newest, TimePoint now);

  // Takes one of a version that the job has not passed and will not pass before this is settled,
  // because it has not begun, or ends there.
  void take(Version version, bool end);
  // Whether one of this version was ordered by time: it may have come too late, and a version is
  // handed over once. Nothing ends there.
  bool was_due(Version version) const { return due_.contains(version); }
  void on_tick(TimePoint now, Step begun);
  void on_answer(std::uint32_t server, const wire::CheckpointAnswer& answer);
  void on_saved(std::uint32_t server, const wire::Saved& saved);
  // Another process goes on in the place of a server: what that had not saved is ordered again, of
  // it alone, by `order`.
  void on_replaced(std::uint32_t server,
                   const std::function<void(const wire::CheckpointAt&)>& order);

  std::optional<Version> newest() const { return newest_; }  // that is on the disk
  // Whether nothing more will happen to this version.
  bool settled(Version version) const { return !under_way_.contains(version); }
  std::uint64_t failed() const { return failed_.size(); }
  // Whether one has failed since the newest.
  bool last_failed() const { return !failed_.empty() && *failed_.rbegin() > newest_.value_or(0); }

 private:
  struct UnderWay {
    bool end = false;
    std::set<std::uint32_t> answered;
    std::set<std::uint32_t> writers;
    std::set<std::uint32_t> done;  // servers whose part is on the disk, or will not be
    bool late = false;
    std::vector<checkpoint::WrittenFile> files;
    std::size_t broken = 0;  // parts that could not be written
    std::string error;
  };
  void look_at(Version version);
  void commit(Version version, UnderWay& parts);
  void settle(Version version, std::string error);  // by value: it may be of what is erased
  void run(const std::stop_token& stop);
  void in_background(std::function<void()> task);
  std::string read_back(const checkpoint::Manifest& manifest);
  void prune(Version verified);
  void drop(Version version);

  const Options options_;
  std::optional<Version> newest_;
  std::map<Version, UnderWay> under_way_;
  std::optional<Version> periodic_;  // the one under way that was due by time
  TimePoint next_;
  Duration lead_;  // how far ahead of the job: twice as far after one that was late
  // Of the rate of steps: where the last second began, and the rate in the one before.
  TimePoint seen_at_;
  Step seen_ = 0;
  double rate_ = 0;
  Version passed_ = 0;  // by servers, which may be ahead of what is known of the workers
  std::set<Version> failed_;
  std::set<Version> due_;  // ordered by time, so far

  checkpoint::PosixDisk disk_;
  checkpoint::Store store_;  // the thread's own
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::function<void()>> tasks_;  // guarded
  std::jthread thread_;                       // last, so that it ends before what it uses
};

// The same entry, as the wire carries it.
wire::Saved saved_message(Version version, const checkpoint::WrittenFile& written);
checkpoint::WrittenFile written_file(const wire::Saved& saved);

}  // namespace sheaf::launcher
