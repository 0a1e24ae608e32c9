// A job whose `sheaf train` is killed, and whose ranks wait for another one. For several tests of
// processes.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <csignal>
#include <string>

#include "tests/harness/checkpoint_job.h"

namespace sheaf::harness {

template <typename Base>
struct Orphaned : Base {
  template <typename... Args>
  explicit Orphaned(const std::string& grace, Args... args) : Base(args...) {
    this->tables["timeouts"] = "beat = \"200ms\"\ndead = \"4s\"\nstart = \"20s\"\n" +
                               fmt::format("orphan_grace = \"{}\"\n", grace);
    this->tables["recovery"] = "restarts = 100\n";
  }
};

using OrphanedJob = Orphaned<SmallJob>;

// Its ranks stay.
inline void kill_train(Running& running) {
  running.signal(SIGKILL);
  ASSERT_EQ(running.wait(kRun), 128 + SIGKILL);
}

// Of a job that trains and has saved something.
inline void kill_supervisor(const Job& job, Running& running) {
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  ASSERT_TRUE(has_saved(job, running)) << running.errors();
  kill_train(running);
}

// The job gets further than it is now.
inline bool gets_further(Running& running) {
  return running.wait_until(
      [&, before = newest_step(running)] { return newest_step(running) > before + 20; }, kRun);
}

}  // namespace sheaf::harness
