// A process of the simulated job as its host sees it: it runs, is stopped for a while, or has been
// killed, perhaps in the middle of what it was doing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "tests/simulation/events.h"

namespace sheaf::simulation {

struct Process {
  ProcessId id;
  std::uint32_t incarnation = 0;
  std::uint32_t attempt = 0;  // of the job: each one has another key
  bool alive = true;
  bool cut_off = false;  // from the coordinator, not from the others
  Milliseconds stopped_until = 0;
  std::optional<std::uint64_t> breaths;     // operations until it is killed
  std::deque<std::function<void()>> inbox;  // from the coordinator, in order
  std::function<void()> on_killed;

  bool stopped(Milliseconds now) const { return now < stopped_until; }
  void kill() {
    if (!alive) return;
    alive = false;
    if (on_killed) on_killed();
  }
  // Called between the operations of which it may do one and not the next; throws Error when it has
  // been killed, as nothing that a killed process does can be seen.
  void breathe() {
    if (alive && breaths && (*breaths)-- == 0) kill();
    if (!alive) fail(Fault::interrupted, "{} was killed", to_string(id));
  }
};

}  // namespace sheaf::simulation
