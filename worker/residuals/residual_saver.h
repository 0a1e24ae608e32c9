// A worker's part of checkpoints: the residuals of its partitions as of a version, that is, of the
// step that it takes next. It is told of a version ahead; when the step comes it copies them, which
// is all that the step waits for, and a thread of its own writes the copy.
//
// One copy is kept: who comes to the next version while the disk is behind waits. Owns copy and
// thread. order() from any thread, the others from the compute thread, callbacks from any of them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>

#include "common/base/aligned_buffer.h"
#include "common/checkpoint/residual_file.h"
#include "worker/residuals/residuals.h"

namespace sheaf::worker {

class ResidualSaver {
 public:
  struct Options {
    std::filesystem::path folder;        // checkpoints/ of the run directory
    checkpoint::ResidualFileParts file;  // but for its step
    Step first = 0;                      // that the worker takes
    // Whether the version comes in time: the worker has not begun the step behind it.
    std::function<void(Version, bool in_time)> on_answer;
    // It is on the disk, or why it is not.
    std::function<void(Version, std::optional<checkpoint::WrittenFile>, const std::string& error)>
        on_done;
  };
  // `disk` and `residuals` outlive the object.
  ResidualSaver(checkpoint::Disk& disk, const Residuals& residuals, Options options);
  // A file that is not whole is given up.
  ~ResidualSaver() = default;

  void order(Version version);
  void abandon(Version version);

  // Before anything of the step is encoded.
  void on_begin(Step step);
  // No step is taken any more, that one included.
  void on_end(Step step);

 private:
  void save_due(std::unique_lock<std::mutex>& lock);
  void run(const std::stop_token& stop);
  void write(Version version);
  bool is_abandoned(Version version);

  checkpoint::Disk& disk_;
  const Residuals& residuals_;
  const Options options_;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  Step next_;                       // guarded: the first step that has not begun
  bool ended_ = false;              // guarded: none begins any more
  std::set<Version> pending_;       // guarded
  AlignedBuffer<float> copy_;       // the thread's own while there is a version
  std::optional<Version> writing_;  // guarded: what the copy is of
  bool abandoned_ = false;          // guarded: that version
  std::jthread thread_;             // last, so that it ends before what it uses
};

}  // namespace sheaf::worker
