// A running job goes on with another number of workers, under mpirun, to the same bits.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/checkpoint_job.h"

namespace sheaf::harness {
namespace {

TEST(Scale, AJobGoesOnWithOtherWorkersToTheSameBits) {
  SmallJob job;
  job.mpirun = true;
  Running running(job);
  const auto newest = [&] {
    const auto steps = checkpoints_of(job);
    return steps.empty() ? 0 : steps.front();
  };
  ASSERT_TRUE(running.wait_until([&] { return newest() > 0; }, kRun)) << running.errors();
  std::uint64_t incarnation = 0;
  for (const unsigned workers : {4U, 1U, 2U}) {
    const Said said = say(job, {"scale", "--workers", std::to_string(workers)});
    ASSERT_EQ(said.code, 0) << said.errors;
    ++incarnation;
    ASSERT_TRUE(running.wait_until(
        [&] {
          const auto row = running.rank("worker", workers - 1);
          return row.is_object() && row["incarnation"] == incarnation && row["state"] == "running";
        },
        kRun))
        << running.errors();
    // It trains: there is a newer checkpoint than the one it went on from.
    ASSERT_TRUE(running.wait_until([&, from = newest()] { return newest() > from; }, kRun));
  }
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const auto result = running.result();
  EXPECT_EQ(result["workers"], 2);
  EXPECT_EQ(result["faults"]["restarts"], 0);
  EXPECT_EQ(result["model_sha256"], reference_model(result["steps"]));
}

}  // namespace
}  // namespace sheaf::harness
