// Rounds of local steps are as steps of bsp: a job that loses a process, and goes on with other
// workers, comes to the bits of one that nobody interrupts. The reference is that job.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/checkpoint_job.h"

namespace sheaf::harness {
namespace {

struct RoundsJob : SmallJob {
  RoundsJob() {
    tables["optimizer"] = "kind = \"momentum\"\nnesterov = true\nrate = 0.7\n";
    tables["consistency"] =
        "kind = \"local\"\nsteps = 3\ninner = { kind = \"adam\", rate = 1e-3, warmup_steps = 5 }\n";
    tables["recovery"] = "restarts = 3\n";
  }
};

TEST(LocalSteps, ALossAndOtherWorkersChangeNoBit) {
  RoundsJob job;
  std::uint64_t steps = 0;
  {
    Running running(job);
    const auto saves = [&] {
      const auto newest = [&] {
        const auto known = checkpoints_of(job);
        return known.empty() ? 0 : known.front();
      };
      return running.wait_until([&, before = newest()] { return newest() > before; }, kRun);
    };
    ASSERT_TRUE(saves()) << running.errors();
    running.signal("worker", 1, SIGKILL);
    ASSERT_TRUE(running.wait_until(
        [&] {
          const nlohmann::json row = running.rank("worker", 1);
          return row.is_object() && row["incarnation"] == 1 && row["state"] == "running";
        },
        kRun))
        << running.errors();
    ASSERT_TRUE(saves()) << running.errors();
    running.signal(SIGTERM);
    ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
    steps = running.result()["steps"];
  }
  {
    Running other(job, job.resume({"consistency.steps=4"}));
    EXPECT_EQ(other.wait(patience(kRun)), 2);
    EXPECT_THAT(other.errors(), testing::HasSubstr("consistency.steps: found 4, expected 3"));
  }
  steps += 20;
  const std::string end = "run.steps=" + std::to_string(steps);
  std::string outcome;
  {
    job.set_size(1, 4);
    Running running(job, job.resume({end, "run.servers=1", "run.workers=4"}));
    ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
    EXPECT_TRUE(running.result()["bit_exact"]);
    outcome = outcome_of(running.result());
  }
  RoundsJob whole;
  whole.overrides = {end};
  Running running(whole);
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(outcome_of(running.result()), outcome);
}

}  // namespace
}  // namespace sheaf::harness
