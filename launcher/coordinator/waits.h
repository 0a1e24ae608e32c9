// Who waits for whom in a running job, and since when: sees when no step begins any more, asks
// every server what its open steps lack, and gathers what they say within a time. Plain code: no
// sockets, no clock. Belongs to the coordinator's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/wire/messages.h"

namespace sheaf::launcher {

class Waits {
 public:
  struct Options {
    std::uint32_t servers = 1;
    std::uint32_t workers = 1;
    std::uint32_t partitions = 1;
    Duration still{};                          // without a step: a stall, and worth saying
    Duration limit = std::chrono::seconds(1);  // for an answer
    std::function<void()> ask = {};            // every server
    std::function<void(std::string_view)> warn = {};
  };
  // No step has begun before `first`.
  Waits(Options options, Step first, TimePoint now)
      : options_(std::move(options)), first_(first), begun_(first), since_(now) {}

  // A line for each server that waits, or has not answered in time: "server 0: step 12 of chunk 3
  // waits for partitions 2, 3 (worker 1)".
  using Done = std::function<void(const std::vector<std::string>& lines)>;
  // Asks; `done` is called from on_answer() or on_tick(). Who asks while others wait gets the same.
  void ask(TimePoint now, Done done);
  void on_answer(std::uint32_t server, wire::Waiting waiting);
  // By server. Within `done`.
  const std::map<std::uint32_t, wire::Waiting>& answers() const { return answers_; }
  // `begun` steps have begun. A stall is said once.
  void on_tick(TimePoint now, Step begun);
  // What all steps that were acknowledged do, as the servers said when they were last asked.
  // Nothing if one did not answer.
  std::optional<wire::Survives> survives() const;
  Duration still(TimePoint now) const { return now - since_; }  // since a step began

 private:
  std::string line(std::uint32_t server, const wire::Waiting& waiting) const;
  void finish();
  const Options options_;
  const Step first_;
  Step begun_;
  TimePoint since_;  // when begun_ was first seen
  bool said_ = false;
  std::vector<Done> asking_;  // empty: nobody does
  TimePoint asked_{};
  std::map<std::uint32_t, wire::Waiting> answers_;
};

}  // namespace sheaf::launcher
