// A job that loses a server has another one in its place, which goes on with what that has left in
// memory: no worker ends, no step is done again, and the model has the bits, or the count, of a job
// that never lost one. The reference is that job, without snapshots.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/counting_job.h"
#include "tests/process/keeping_job.h"

namespace sheaf::harness {
namespace {

constexpr const char* kSnapshot = "";  // the default

struct LostServer {
  const char* name;
  int signal;
  const char* transport;
};

class ReplacedServers : public testing::TestWithParam<LostServer> {};

TEST_P(ReplacedServers, GoOnToTheSameBits) {
  const KeepingJob job(kSnapshot, GetParam().transport);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  const nlohmann::json workers[] = {running.rank("worker", 0), running.rank("worker", 1)};
  unsigned incarnation = 0;
  for (const unsigned server : {0U, 1U}) {  // one of them has started the keeper
    running.signal("server", server, GetParam().signal);
    ASSERT_TRUE(is_back(running, "server", server, ++incarnation)) << running.errors();
  }
  for (const unsigned id : {0U, 1U}) EXPECT_EQ(running.rank("worker", id), workers[id]);
  const nlohmann::json result = end(running, 2);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"]));
}

INSTANTIATE_TEST_SUITE_P(Servers, ReplacedServers,
                         testing::Values(LostServer{"Killed", SIGKILL, "auto"},
                                         LostServer{"KilledOverTcp", SIGKILL, "tcp"},
                                         LostServer{"Stopped", SIGSTOP, "auto"},
                                         LostServer{"StoppedOverTcp", SIGSTOP, "tcp"}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(ReplacedServersTest, AWorkerAndAServerAtOnceAndAllServersAtOnce) {
  const KeepingJob job(kSnapshot);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("server", 1, SIGKILL);
  running.signal("worker", 0, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 1, 1)) << running.errors();
  ASSERT_TRUE(is_back(running, "worker", 0, 1)) << running.errors();
  running.signal("server", 0, SIGKILL);
  running.signal("server", 1, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 0, 3)) << running.errors();
  ASSERT_TRUE(is_back(running, "server", 1, 3)) << running.errors();
  const nlohmann::json result = end(running, 4);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"]));
}

// Steps that need a figure of all servers: clipped by the norm of the whole gradient. Over the
// network, too, one that is stopped is there until it is replaced.
TEST(ReplacedServersTest, ClippedStepsGoOnToTheSameBits) {
  const std::vector<std::string> overrides = {"optimizer.clip_norm=0.05",
                                              "optimizer.non_finite=skip"};
  KeepingJob job(kSnapshot);
  job.overrides = overrides;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("server", 1, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 1, 1)) << running.errors();
  running.signal("server", 0, SIGSTOP);
  ASSERT_TRUE(is_back(running, "server", 0, 2)) << running.errors();
  running.signal("server", 0, SIGKILL);
  running.signal("server", 1, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 0, 3)) << running.errors();
  ASSERT_TRUE(is_back(running, "server", 1, 3)) << running.errors();
  const nlohmann::json result = end(running, 4);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"], overrides));
  EXPECT_NE(result["model_sha256"], model_without_faults(result["steps"]));  // it was clipped
}

// Pulls of which servers know more than parameters: encoded alone, or as differences to what
// workers have.
class EncodedPulls : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(EncodedPulls, GoOnToTheSameBits) {
  KeepingJob job(kSnapshot);
  job.overrides = GetParam();
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  unsigned incarnation = 0;
  for (const unsigned server : {0U, 1U}) {
    running.signal("server", server, SIGKILL);
    ASSERT_TRUE(is_back(running, "server", server, ++incarnation)) << running.errors();
  }
  const nlohmann::json result = end(running, 2);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"], GetParam()));
}

const std::vector<std::string> kHalves = {"compression.pull.kind=bf16"};
const std::vector<std::string> kDifferences = {
    "compression.pull.kind=topk", "compression.pull.ratio=0.1", "compression.pull.feedback=ef21p"};
INSTANTIATE_TEST_SUITE_P(Servers, EncodedPulls, testing::Values(kHalves, kDifferences),
                         [](const auto& row) {
                           return std::string(row.index == 0 ? "Halves" : "Differences");
                         });

// What pushes have told of gradients, of which servers have the sum, and workers their parts.
TEST(ReplacedServersTest, EstimatesOfGradientsGoOnToTheSameBits) {
  const std::vector<std::string> overrides = {
      "compression.push.kind=topk", "compression.push.ratio=0.1", "compression.push.feedback=ef21"};
  KeepingJob job(kSnapshot);
  job.overrides = overrides;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("server", 0, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 0, 1)) << running.errors();
  running.signal("server", 1, SIGKILL);
  running.signal("worker", 1, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 1, 2)) << running.errors();
  ASSERT_TRUE(is_back(running, "worker", 1, 2)) << running.errors();
  const nlohmann::json result = end(running, 3);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"], overrides));
}

// Where it was nobody is when they connect: they go to its successor, or wait for it.
TEST(ReplacedServersTest, OneThatIsLostWhileWorkersLoadTheirDataCostsNoWorker) {
  KeepingJob job(kSnapshot);
  job.tables["data"] =  // more of it than servers take to open
      "kind = \"synthetic_sum\"\nexamples = 1000000\ntest_examples = 256\nfeatures = 32\n"
      "batch = 64\n";
  Running running(job);
  const auto holds_its_shard = [&] {
    return running.file("logs/server-0.log").find("holds its shard") != std::string::npos;
  };
  while (!holds_its_shard() && running.seconds() < 30) {  // it says so to nobody else
    running.wait_until(holds_its_shard, Limit(10));
  }
  running.signal("server", 0, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 0, 1)) << running.errors();
  for (const unsigned id : {0U, 1U}) EXPECT_EQ(running.rank("worker", id)["incarnation"], 0);
  end(running, 1);
}

// Of a job that ends by itself: the checkpoint of its last step and its evaluation are complete.
TEST(ReplacedServersTest, TheEndIsTheSame) {
  KeepingJob job(kSnapshot);
  job.tables["checkpoint"] = "every = \"50ms\"\n";
  job.overrides = {"run.steps=3000"};
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("server", 0, SIGKILL);
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(running.result()["faults"]["replacements"], 1);
  EXPECT_EQ(running.result()["model_sha256"], model_without_faults(3000));
  EXPECT_EQ(checkpoints_of(job).front(), 3000U);
}

class CountingServers : public testing::TestWithParam<const char*> {};

TEST_P(CountingServers, LoseNothingAndCountNothingTwice) {
  CountingJob job(std::string("kind = \"") + GetParam() + "\"\ntrace = true\n");
  job.tables["recovery"] = "restarts = 100\nsnapshot = \"shm\"\n";
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  unsigned incarnation = 0;
  for (const unsigned server : {1U, 0U, 0U}) {
    running.signal("server", server, SIGKILL);
    ASSERT_TRUE(is_back(running, "server", server, ++incarnation)) << running.errors();
  }
  running.signal("worker", 1, SIGKILL);
  running.signal("server", 1, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 1, 4)) << running.errors();
  ASSERT_TRUE(is_back(running, "worker", 1, 4)) << running.errors();
  const nlohmann::json result = end(running, 5);
  // In bsp the mean of all partitions is one step.
  const unsigned each = std::string_view(GetParam()) == "bsp" ? 1 : CountingJob::kPartitions;
  EXPECT_EQ(count_of(job), each * result["steps"].get<unsigned>());
  const Said verified = say(job, {"verify"});  // each start's trace, and that the last ones end
  EXPECT_EQ(verified.code, 0) << verified.output;
  EXPECT_THAT(verified.output, testing::HasSubstr("trace server-1-lane-1-step-0-1.trace: ok"));
}

INSTANTIATE_TEST_SUITE_P(Gates, CountingServers, testing::Values("bsp", "ssp", "asp"),
                         [](const auto& row) { return std::string(row.param); });

// As soon as a resumed job is there, which may be while servers read its checkpoint.
TEST(ReplacedServersTest, AResumedJobGoesOnToTheSameBits) {
  const KeepingJob job(kSnapshot);
  {
    Running running(job);
    ASSERT_TRUE(running.wait_for_training()) << running.errors();
    running.signal(SIGTERM);
    ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  }
  Running running(job, job.resume({}));
  // For the second time: it keeps a snapshot, and reads the checkpoint.
  const auto holds_its_shard = [&] {
    const std::string said = running.file("logs/server-1.log");
    const std::string_view what = "holds its shard";
    return said.find(what) != said.rfind(what);
  };
  while (!holds_its_shard() && running.seconds() < 30) {  // it says so to nobody else
    running.wait_until(holds_its_shard, Limit(10));
  }
  const unsigned incarnation = running.rank("server", 1)["incarnation"];
  running.signal("server", 1, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 1, incarnation + 1)) << running.errors();
  const nlohmann::json result = end(running, 1);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"]));
}

// What it has left is gone with the keeper: the job goes back to its checkpoint.
TEST(ReplacedServersTest, WithoutTheSnapshotAllRanksStartAgain) {
  const KeepingJob job(kSnapshot);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  signal_descendant(descendant_called("sheaf-keeper"), SIGKILL);
  running.signal("server", 0, SIGKILL);
  ASSERT_TRUE(running.wait_for_message("it cannot go on where its predecessor has ended", kRun))
      << running.errors();
  ASSERT_TRUE(running.wait_for_message("goes on from step 0", kRun)) << running.errors();
  ASSERT_TRUE(is_back(running, "server", 0, 2)) << running.errors();
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const nlohmann::json result = running.result();
  EXPECT_EQ(result["faults"]["restarts"], 1);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"]));
}

}  // namespace
}  // namespace sheaf::harness
