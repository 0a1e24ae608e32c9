// One job through as many starts as it takes: it goes on from its newest checkpoint when it has
// lost a process, and with other workers when somebody asks for that. Takes the signals sent to us.
// Used by one thread.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "launcher/config/run_config.h"
#include "launcher/coordinator/restarts.h"
#include "launcher/run/job_record.h"
#include "launcher/run/run_lock.h"
#include "launcher/supervision/attempt.h"
#include "launcher/supervision/mpirun_command.h"
#include "launcher/system/scratch_folder.h"
#include "launcher/system/signals.h"

namespace sheaf::launcher {

class Supervision {
 public:
  struct Options {
    RunConfig config;  // that passed its check
    MpirunCommand launch;
    std::filesystem::path program;  // what mpirun starts
    std::string address;            // of the coordinator
    std::optional<checkpoint::Manifest> resumed = {};
    std::optional<RunLock> lock = {};     // if the run directory is there already
    std::optional<Orphans> orphans = {};  // that it begins with
  };
  // Makes the run directory, goes on in it, or takes over who is at work in it.
  Supervision(Options options, Signals& signals);

  // To the end of the job. Returns its exit code; the result is written and shown.
  int run();

 private:
  Coordinator::Outcome attempt();
  void wait_for_something(std::chrono::milliseconds limit);
  void take_signals();
  bool goes_on(const wire::Failure& failure);
  bool changes_size();
  void plan();
  bool waits(Duration pause);
  int code_of(const Coordinator::Outcome& outcome) const;
  int report(const Coordinator::Outcome& outcome);

  Signals& signals_;
  RunConfig config_;  // of the next attempt, as what follows
  MpirunCommand launch_;
  const std::filesystem::path program_;
  const std::string address_;
  std::optional<checkpoint::Manifest> resumed_;  // where it goes on from
  ScratchFolder scratch_;  // first, since it may fail and the record is then not begun
  JobRecord record_;
  std::optional<RunLock> lock_;
  Restarts restarts_;
  FailingHosts hosts_;
  std::optional<Orphans> orphans_;  // of the next attempt
  std::unique_ptr<Attempt> attempt_;
  std::uint32_t incarnation_ = 0;        // of the next attempt
  bool began_ = false;                   // all ranks have been there at least once
  TimePoint noticed_{};                  // that the last attempt had ended
  std::optional<std::uint32_t> wanted_;  // workers that somebody has asked for
  std::optional<std::uint32_t> before_;  // workers of the last attempt that began, if others now
  int asked_to_end_ = 0;                 // the signal
  bool at_once_ = false;
  Coordinator::Outcome ended_;  // between two attempts
};

}  // namespace sheaf::launcher
