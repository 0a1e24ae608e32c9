// A job whose servers are replaced while everybody else goes on, and how it ends. The reference is
// the same job that never lost one and keeps nothing. For several tests of processes.
#pragma once

#include <gmock/gmock.h>

#include <csignal>
#include <string>

#include "tests/harness/checkpoint_job.h"

namespace sheaf::harness {

// Four chunks or more; has nothing to go back to but its beginning.
struct KeepingJob : SmallJob {
  // `keeps`: a line of [recovery].
  explicit KeepingJob(const std::string& keeps, const std::string& transport = "auto") {
    tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\n";
    tables["network"] = "chunk_kib = 16\nlanes = 2\ntransport = \"" + transport + "\"\n";
    tables["recovery"] = "restarts = 100\n" + keeps + "\n";
    tables["checkpoint"] = "every = \"1h\"\n";
  }
};

inline std::string model_without_faults(std::uint64_t steps,
                                        const std::vector<std::string>& overrides = {}) {
  KeepingJob job("snapshot = \"none\"");
  job.overrides = overrides;
  job.overrides.push_back("run.steps=" + std::to_string(steps));
  Running running(job);
  EXPECT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  return running.result()["model_sha256"];
}

// The rank has such an incarnation or a newer one, and the job has got further since.
inline bool is_back(Running& running, const char* role, unsigned id, unsigned incarnation) {
  const bool there = running.wait_until(
      [&] {
        const nlohmann::json row = running.rank(role, id);
        return row.is_object() && row["incarnation"] >= incarnation && row["state"] == "running";
      },
      kRun);
  const std::uint64_t before = newest_step(running);
  return there && running.wait_until([&] { return newest_step(running) > before + 20; }, kRun);
}

inline nlohmann::json end(Running& running, unsigned replacements) {
  running.signal(SIGTERM);
  EXPECT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  EXPECT_THAT(wait_for_descendants(patience(kAllGone)), testing::IsEmpty());  // no keeper, either
  nlohmann::json result = running.result();
  EXPECT_EQ(result["faults"]["replacements"], replacements) << running.errors();
  EXPECT_EQ(result["faults"]["restarts"], 0) << running.errors();
  EXPECT_EQ(result["faults"]["rolled_back_steps"], 0);
  EXPECT_GT(result["faults"]["recovery_seconds"], 0);
  return result;
}

}  // namespace sheaf::harness
