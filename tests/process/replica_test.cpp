// A job whose servers keep replicas of each other loses one, and another process goes on in its
// place with what the other one has: no worker ends, no step is done again, and the model has the
// bits, or the count, of a job that never lost one. The reference is that job, without replicas.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/counting_job.h"
#include "tests/process/keeping_job.h"

namespace sheaf::harness {
namespace {

constexpr const char* kReplicas = "replicas = 2\nsnapshot = \"none\"";

struct LostPrimary {
  const char* name;
  int signal;
  const char* transport;
};

class ReplicatedServers : public testing::TestWithParam<LostPrimary> {};

TEST_P(ReplicatedServers, GoOnToTheSameBits) {
  const KeepingJob job(kReplicas, GetParam().transport);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  const nlohmann::json workers[] = {running.rank("worker", 0), running.rank("worker", 1)};
  unsigned incarnation = 0;
  // Each is the backup of the other: what the first successor was given is gone on with later.
  for (const unsigned server : {0U, 1U, 1U, 0U}) {
    running.signal("server", server, GetParam().signal);
    ASSERT_TRUE(is_back(running, "server", server, ++incarnation)) << running.errors();
  }
  for (const unsigned id : {0U, 1U}) EXPECT_EQ(running.rank("worker", id), workers[id]);
  const nlohmann::json result = end(running, 4);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"]));
}

INSTANTIATE_TEST_SUITE_P(Servers, ReplicatedServers,
                         testing::Values(LostPrimary{"Killed", SIGKILL, "auto"},
                                         LostPrimary{"KilledOverTcp", SIGKILL, "tcp"},
                                         LostPrimary{"Stopped", SIGSTOP, "auto"},
                                         LostPrimary{"StoppedOverTcp", SIGSTOP, "tcp"}),
                         [](const auto& row) { return std::string(row.param.name); });

// Compressed both ways, and over links that are encrypted.
class CompressedReplicas : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(CompressedReplicas, EncryptedGoOnToTheSameBits) {
  std::vector<std::string> overrides = GetParam();
  overrides.emplace_back("network.encryption=tls");
  KeepingJob job(kReplicas);
  job.overrides = overrides;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("server", 0, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 0, 1)) << running.errors();
  const nlohmann::json result = end(running, 1);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"], overrides));
}

const std::vector<std::string> kHalvesPulled = {"compression.push.kind=fp16",
                                                "compression.pull.kind=bf16"};
// To what workers have, which the replica has to know.
const std::vector<std::string> kDifferencesPulled = {
    "compression.push.kind=fp16", "compression.pull.kind=topk", "compression.pull.ratio=0.1",
    "compression.pull.feedback=ef21p"};
// To what servers know of gradients.
const std::vector<std::string> kDifferencesPushed = {
    "compression.push.kind=topk", "compression.push.ratio=0.1", "compression.push.feedback=ef21"};
constexpr const char* kCompressed[] = {"Halves", "Differences", "DifferencesPushed"};
INSTANTIATE_TEST_SUITE_P(Servers, CompressedReplicas,
                         testing::Values(kHalvesPulled, kDifferencesPulled, kDifferencesPushed),
                         [](const auto& row) { return std::string(kCompressed[row.index]); });

// Steps that need a figure of all servers.
TEST(ReplicatedServersTest, ClippedStepsGoOnToTheSameBits) {
  const std::vector<std::string> overrides = {"optimizer.clip_norm=0.05",
                                              "optimizer.non_finite=skip"};
  KeepingJob job(kReplicas);
  job.overrides = overrides;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  unsigned incarnation = 0;
  for (const unsigned server : {0U, 1U}) {
    running.signal("server", server, SIGKILL);
    ASSERT_TRUE(is_back(running, "server", server, ++incarnation)) << running.errors();
  }
  const nlohmann::json result = end(running, 2);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"], overrides));
}

TEST(ReplicatedServersTest, AWorkerAndAServerAtOnce) {
  const KeepingJob job(kReplicas);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("server", 1, SIGKILL);
  running.signal("worker", 0, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 1, 1)) << running.errors();
  ASSERT_TRUE(is_back(running, "worker", 0, 1)) << running.errors();
  const nlohmann::json result = end(running, 2);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"]));
}

// Of a job that ends by itself, while it saves: the checkpoint of its last step is complete.
TEST(ReplicatedServersTest, TheEndAfterALossWithinACheckpointIsTheSame) {
  KeepingJob job(kReplicas);
  job.tables["checkpoint"] = "every = \"50ms\"\n";
  job.overrides = {"run.steps=3000"};
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("server", 0, SIGKILL);
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(running.result()["faults"]["replacements"], 1);
  EXPECT_EQ(running.result()["faults"]["restarts"], 0);
  EXPECT_EQ(running.result()["model_sha256"], model_without_faults(3000));
  EXPECT_EQ(checkpoints_of(job).front(), 3000U);
}

// Both that have a part are gone: the job goes back to its checkpoint.
TEST(ReplicatedServersTest, WithoutEitherOfAPairAllRanksStartAgain) {
  const KeepingJob job(kReplicas);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("server", 0, SIGKILL);
  running.signal("server", 1, SIGKILL);
  ASSERT_TRUE(running.wait_for_message("goes on from step 0", kRun)) << running.errors();
  ASSERT_TRUE(is_back(running, "server", 0, 1)) << running.errors();
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const nlohmann::json result = running.result();
  EXPECT_EQ(result["faults"]["restarts"], 1);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"]));
}

// What workers shared with it is gone, too: they are replaced by others, which use the network.
TEST(ReplicatedServersTest, WithoutTheMemoryOfTheHostWorkersAreReplacedAsWell) {
  const KeepingJob job(kReplicas);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  signal_descendant(descendant_called("sheaf-keeper"), SIGKILL);
  running.signal("server", 1, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 1, 1)) << running.errors();
  for (const unsigned worker : {0U, 1U}) {
    ASSERT_TRUE(is_back(running, "worker", worker, 1)) << running.errors();
  }
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const nlohmann::json result = running.result();
  EXPECT_EQ(result["faults"]["restarts"], 0) << running.errors();
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"]));
}

// With both, a snapshot serves when all servers are lost.
TEST(ReplicatedServersTest, WithSnapshotsAllServersMayBeLostAtOnce) {
  const KeepingJob job("replicas = 2\nsnapshot = \"shm\"");
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("server", 0, SIGKILL);
  running.signal("server", 1, SIGKILL);
  ASSERT_TRUE(is_back(running, "server", 0, 1)) << running.errors();
  ASSERT_TRUE(is_back(running, "server", 1, 1)) << running.errors();
  const nlohmann::json result = end(running, 2);
  EXPECT_EQ(result["model_sha256"], model_without_faults(result["steps"]));
}

class CountingReplicas : public testing::TestWithParam<const char*> {};

TEST_P(CountingReplicas, LoseNothingAndCountNothingTwice) {
  CountingJob job(std::string("kind = \"") + GetParam() + "\"\ntrace = true\n");
  job.tables["recovery"] = std::string("restarts = 100\n") + kReplicas + "\n";
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
  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output;
}

INSTANTIATE_TEST_SUITE_P(Gates, CountingReplicas, testing::Values("bsp", "ssp", "asp"),
                         [](const auto& row) { return std::string(row.param); });

}  // namespace
}  // namespace sheaf::harness
