#include "launcher/supervision/supervision.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <iostream>

#include "common/base/error.h"
#include "launcher/run/report.h"
#include "launcher/run/resume.h"
#include "launcher/supervision/launch_plan.h"

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;

constexpr bool is_loss(int fault) { return fault == static_cast<int>(Fault::network); }

wire::Failure own_failure(Fault fault, const char* phase, std::string text) {
  return {{Role::coordinator, 0}, static_cast<int>(fault), phase, std::move(text)};
}

JobRecord::Output to_person() {
  return {style_of(STDERR_FILENO), [](std::string_view text) { std::cerr << text << std::flush; }};
}

}  // namespace

Supervision::Supervision(Options o, Signals& signals)
    : signals_(signals),
      config_(std::move(o.config)),
      launch_(std::move(o.launch)),
      program_(std::move(o.program)),
      address_(std::move(o.address)),
      resumed_(std::move(o.resumed)),
      record_(o.orphans ? JobRecord(config_, to_person(), JobRecord::Attached{})
                        : JobRecord(config_, to_person(),
                                    resumed_ ? std::optional(resumed_->step) : std::nullopt)),
      lock_(std::move(o.lock)),
      restarts_(config_.recovery().restarts),
      hosts_(config_.recovery().host_losses, config_.recovery().set_aside),
      orphans_(std::move(o.orphans)) {
  if (!lock_) lock_.emplace(record_.path());
}

int Supervision::run() {
  Coordinator::Outcome outcome;
  do {
    outcome = attempt();
  } while (outcome ? goes_on(*outcome) : changes_size());
  return report(ended_ ? ended_ : outcome);
}

// ---- one attempt --------------------------------------------------------------------------------

Coordinator::Outcome Supervision::attempt() {
  try {
    scratch_.make();
    attempt_ = std::make_unique<Attempt>(Attempt::Options{.config = config_,
                                                          .launch = launch_,
                                                          .record = record_,
                                                          .scratch = scratch_,
                                                          .address = address_,
                                                          .resumed = resumed_,
                                                          .incarnation = incarnation_,
                                                          .program = program_,
                                                          .orphans = std::exchange(orphans_, {}),
                                                          .restarts = restarts_,
                                                          .hosts = hosts_});
  } catch (const Error& error) {
    return own_failure(error.fault(), "starting", error.message());
  }
  std::optional<Coordinator::Outcome> outcome;
  while (!outcome && !at_once_) {
    wait_for_something(milliseconds(50));
    take_signals();
    outcome = attempt_->look();
  }
  noticed_ = std::chrono::steady_clock::now();
  if (attempt_->began()) {
    began_ = true;
    before_.reset();
  }
  if (const auto workers = attempt_->scaled_to()) wanted_ = workers;
  const Coordinator::Outcome ended = attempt_->end(std::move(outcome));
  incarnation_ = attempt_->incarnation() + 1;
  attempt_.reset();  // the record is ours from here on
  return ended;
}

void Supervision::wait_for_something(milliseconds limit) {
  std::array<pollfd, 2> events{
      {{signals_.fd(), POLLIN, 0}, {attempt_ ? attempt_->pidfd() : -1, POLLIN, 0}}};
  ::poll(events.data(), events.size(), static_cast<int>(limit.count()));
}

void Supervision::take_signals() {
  while (const auto number = signals_.take()) {
    if (*number == SIGCHLD) continue;
    if (asked_to_end_ == 0) {
      asked_to_end_ = *number;
      if (!attempt_) continue;  // between two of them
      attempt_->drain();
      // In one piece: the coordinator's thread writes there, too.
      std::cerr << fmt::format("\nsheaf: finishing the step and saving it; Ctrl-C {} at once\n",
                               *number == SIGINT ? "again stops" : "stops");
    } else if (*number == SIGINT && attempt_) {
      at_once_ = true;
      attempt_->abort(own_failure(Fault::interrupted, "draining", "interrupted a second time"));
    }
  }
}

// ---- from one to the next -----------------------------------------------------------------------

// The ranks of later attempts read what the run directory says, whatever has become of the job
// file; first with the workers that somebody wants, if so.
void Supervision::plan() {
  const JobArguments job{record_.path() / "config.toml", {}};
  if (wanted_) {
    const std::uint32_t workers = config_.run().workers;
    const std::string override = fmt::format("run.workers={}", *wanted_);
    RunConfig changed = RunConfig::load(job.file, std::span(&override, 1));
    changed.require_sound();
    config_ = std::move(changed);
    record_.write_config();
    before_ = workers;
    wanted_.reset();
  }
  launch_ = plan_launch(config_, job, program_, Coordinated::by_train);
}

// Whether the job is started again: it had begun and has lost a process, there is something to go
// on from, and nobody has asked it to end.
bool Supervision::goes_on(const wire::Failure& failure) {
  if (!is_loss(failure.fault) || !began_ || asked_to_end_ != 0) return false;
  // One that cannot be started with so many is no loss.
  const bool too_many = before_.has_value();
  if (config_.recovery().restarts == 0 && !too_many) return false;
  const auto say = [this](std::string_view text) { record_.note(text); };
  const std::string reason = failure.text.substr(0, failure.text.find('\n'));
  std::optional<Duration> pause = Duration{0};
  try {
    resumed_ = newest_checkpoint(config_.run().dir, say);
    if (!resumed_ && record_.failed_checkpoints() != 0) {
      say("warning: no checkpoint could be written: the job does not start over by itself");
      return false;
    }
    const Step from = resumed_ ? resumed_->step : 0;
    if (too_many) {
      say(fmt::format("warning: {} workers cannot be started: {}; goes on with {} from step {}",
                      config_.run().workers, reason, *before_, from));
      wanted_ = std::exchange(before_, {});
      plan();
      before_.reset();
      record_.change_size(from);
      return true;
    }
    pause = restarts_.next(resumed_ ? std::optional(from) : std::nullopt);
    if (!pause) {
      say(
          fmt::format("warning: started again {} times in a row without a newer checkpoint than "
                      "that of step {}: giving up (recovery.restarts)",
                      restarts_.in_a_row(), from));
      return false;
    }
    say(fmt::format("warning: {}: {}; goes on from step {}{}", failure.phase, reason, from,
                    *pause > Duration{0} ? fmt::format(" in {:.0f} s", seconds(*pause)) : ""));
    plan();
    if (!waits(*pause)) return false;
    record_.go_back(from, noticed_);
  } catch (const Error& error) {
    say(fmt::format("warning: cannot go on: {}", error.message()));
    return false;
  }
  return true;
}

// Whether the job has stopped only to go on with another number of workers.
bool Supervision::changes_size() {
  if (!wanted_ || record_.all_steps() || asked_to_end_ != 0) return false;
  constexpr const char* kPhase = "changing the number of workers";
  const auto say = [this](std::string_view text) { record_.note(text); };
  if (!record_.saved_at_end()) {
    ended_ = own_failure(Fault::data, kPhase,
                         "the last step could not be saved; sheaf train --resume goes on from the "
                         "newest checkpoint");
    return false;
  }
  try {
    resumed_ = newest_checkpoint(config_.run().dir, say);
    plan();
    record_.change_size(resumed_ ? resumed_->step : 0);
  } catch (const Error& error) {
    ended_ = own_failure(error.fault(), kPhase, error.message());
    return false;
  }
  say(fmt::format("goes on from step {} with {} workers", resumed_ ? resumed_->step : 0,
                  config_.run().workers));
  return true;
}

// False if somebody asks the job to end meanwhile.
bool Supervision::waits(Duration pause) {
  const TimePoint end = std::chrono::steady_clock::now() + pause;
  while (true) {
    take_signals();
    if (asked_to_end_ != 0) {
      ended_ =
          own_failure(Fault::interrupted, "waiting to go on", "interrupted between two starts");
      return false;
    }
    const auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
    if (left <= milliseconds(0)) return true;
    wait_for_something(left);
  }
}

// ---- the end ------------------------------------------------------------------------------------

// Asked to end, a job may be done all the same; else it is preempted if it can go on later. Who
// asks may end some of its processes, too: then the newest checkpoint is what was saved.
int Supervision::code_of(const Coordinator::Outcome& outcome) const {
  const int code = outcome ? outcome->fault : 0;
  if (!outcome && record_.budget_spent()) return static_cast<int>(Fault::privacy);
  if (asked_to_end_ == 0 || (!outcome && record_.all_steps())) return code;
  const bool interrupted = code == static_cast<int>(Fault::interrupted);
  if (outcome && !interrupted && !is_loss(code)) return code;
  const bool saved = outcome ? (resumed_ || record_.saved()) && !at_once_ : record_.saved_at_end();
  if (saved) return static_cast<int>(Fault::preempted);
  return outcome && !interrupted ? code : 128 + asked_to_end_;
}

int Supervision::report(const Coordinator::Outcome& outcome) {
  const RunResult& result = record_.close(outcome, code_of(outcome));
  if (result.error) {
    std::cerr << failure_report(result, record_.path()) << std::flush;
  } else {
    std::cout << closing_report(result, record_.path());
  }
  std::cout << record_.path().string() << std::endl;
  return result.exit;
}

}  // namespace sheaf::launcher
