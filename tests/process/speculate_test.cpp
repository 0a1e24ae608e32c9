// Jobs whose idle workers compute the partitions of a late one. The reference is the same job in
// bsp that nobody disturbs: the same bits.
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>

#include "tests/harness/checkpoint_job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;

// Without evaluations between, which wait for everybody.
struct SpeculatingJob : SmallJob {
  explicit SpeculatingJob(const char* transport = "auto", const char* gate = "speculate") {
    tables["data"] =
        "kind = \"synthetic_sum\"\nexamples = 999\ntest_examples = 101\nfeatures = 32\n"
        "batch = 60\n";
    tables["network"] += std::string("transport = \"") + transport + "\"\n";
    tables["consistency"] = std::string("kind = \"") + gate + "\"\ntrace = true\n";
    tables["recovery"] = "restarts = 3\n";
    tables["timeouts"] = "beat = \"100ms\"\nsuspect = \"500ms\"\ndead = \"60s\"\n";
  }
};

std::string bsp_model(unsigned workers, std::uint64_t steps) {
  SpeculatingJob job("auto", "bsp");
  job.set_size(2, workers);
  job.overrides = {"run.steps=" + std::to_string(steps)};
  Running running(job);
  EXPECT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  return running.result()["model_sha256"];
}

// It saves two later steps: the first may have been under way. Asks for its status meanwhile, for
// want of files that change in RUN: rows of metrics wait for what a stopped worker has to report.
bool gets_further(const Job& job) {
  const auto deadline = std::chrono::steady_clock::now() + kRun;
  for (int i = 0; i < 2; ++i) {
    const auto before = checkpoints_of(job);
    while (checkpoints_of(job).empty() || checkpoints_of(job) == before) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      say(job, {"status"});
    }
  }
  return true;
}

void expect_same_bits(SpeculatingJob& job, Running& running, unsigned workers) {
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const nlohmann::json result = running.result();
  EXPECT_GT(result["faults"]["stood_in"], 0);
  EXPECT_EQ(result["faults"]["restarts"], 0);
  EXPECT_TRUE(result["bit_exact"]);
  EXPECT_EQ(result["model_sha256"], bsp_model(workers, result["steps"]));
  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output << verified.errors;
}

class Speculate : public testing::TestWithParam<const char*> {};

// A stopped worker pushes nothing: each step that is taken meanwhile has its partitions from
// another one. Then it goes on where the others are.
TEST_P(Speculate, AStoppedWorkerHoldsUpNobody) {
  SpeculatingJob job(GetParam());
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  for (const unsigned worker : {1U, 0U}) {
    running.signal("worker", worker, SIGSTOP);
    EXPECT_TRUE(gets_further(job)) << running.errors();
    running.signal("worker", worker, SIGCONT);
    EXPECT_TRUE(gets_further(job)) << running.errors();
  }
  expect_same_bits(job, running, 2);
}

INSTANTIATE_TEST_SUITE_P(Transports, Speculate, testing::Values("auto", "tcp"),
                         [](const auto& row) { return std::string(row.param); });

// Whoever stands in may be lost in the middle of a push, and so may who was late.
TEST(SpeculateTest, LosesAStandInAndTheLateOne) {
  SpeculatingJob job;
  job.set_size(2, 3);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("worker", 2, SIGSTOP);
  ASSERT_TRUE(gets_further(job)) << running.errors();
  running.signal("worker", 0, SIGKILL);
  ASSERT_TRUE(gets_further(job)) << running.errors();
  running.signal("worker", 2, SIGKILL);
  ASSERT_TRUE(gets_further(job)) << running.errors();
  expect_same_bits(job, running, 3);
}

// Also where servers keep their part in memory that outlives them, and acknowledge only steps.
TEST(SpeculateTest, GoesWithSnapshots) {
  SpeculatingJob job;
  job.tables["consistency"] = "kind = \"speculate\"\n";
  job.tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\n";
  job.tables["recovery"] = "restarts = 3\nsnapshot = \"shm\"\n";
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("worker", 1, SIGSTOP);
  ASSERT_TRUE(gets_further(job)) << running.errors();
  running.signal("server", 0, SIGKILL);
  ASSERT_TRUE(gets_further(job)) << running.errors();
  running.signal("worker", 1, SIGCONT);
  ASSERT_TRUE(gets_further(job)) << running.errors();
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const nlohmann::json result = running.result();
  EXPECT_GT(result["faults"]["stood_in"], 0);
  EXPECT_EQ(result["faults"]["restarts"], 0);
  job.overrides = {"run.steps=" + result["steps"].dump(), "consistency.kind=bsp",
                   "run.dir=" + (job / "again").string()};
  job.set_run(job / "again");
  Running again(job);
  ASSERT_EQ(again.wait(patience(kRun)), 0) << again.errors();
  EXPECT_EQ(result["model_sha256"], again.result()["model_sha256"]);
}

TEST(SpeculateTest, ResidualsOfPushesAreRefused) {
  SpeculatingJob job;
  job.tables["compression"] = "push = { kind = \"topk\", feedback = \"ef\" }\n";
  Running running(job);
  EXPECT_EQ(running.wait(patience(kRun)), 2);
  EXPECT_THAT(running.errors(), HasSubstr("known to its own worker alone"));
}

}  // namespace
}  // namespace sheaf::harness
