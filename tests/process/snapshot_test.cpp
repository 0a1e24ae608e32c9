// A job that loses a server has another one in its place, which goes on with what that has left in
// memory: no worker ends, no step is done again, and the model has the bits, or the count, of a job
// that never lost one. The reference is that job, without snapshots.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/checkpoint_job.h"
#include "tests/harness/counting_job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// Four chunks or more; has nothing to go back to but its beginning.
struct KeepingJob : SmallJob {
  explicit KeepingJob(const std::string& transport = "auto") {
    tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\n";
    tables["network"] = "chunk_kib = 16\nlanes = 2\ntransport = \"" + transport + "\"\n";
    tables["recovery"] = "restarts = 100\nsnapshot = \"shm\"\n";
    tables["checkpoint"] = "every = \"1h\"\n";
  }
};

std::string model_without_faults(std::uint64_t steps) {
  KeepingJob job;
  job.overrides = {"run.steps=" + std::to_string(steps), "recovery.snapshot=none"};
  Running running(job);
  EXPECT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  return running.result()["model_sha256"];
}

// The rank has such an incarnation or a newer one, and the job has got further since.
bool is_back(Running& running, const char* role, unsigned id, unsigned incarnation) {
  const bool there = running.wait_until(
      [&] {
        const nlohmann::json row = running.rank(role, id);
        return row.is_object() && row["incarnation"] >= incarnation && row["state"] == "running";
      },
      kRun);
  const std::uint64_t before = newest_step(running);
  return there && running.wait_until([&] { return newest_step(running) > before + 20; }, kRun);
}

nlohmann::json end(Running& running, unsigned replacements) {
  running.signal(SIGTERM);
  EXPECT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  EXPECT_THAT(wait_for_descendants(patience(Limit(500))), IsEmpty());  // no keeper, either
  nlohmann::json result = running.result();
  EXPECT_EQ(result["faults"]["replacements"], replacements) << running.errors();
  EXPECT_EQ(result["faults"]["restarts"], 0) << running.errors();
  EXPECT_EQ(result["faults"]["rolled_back_steps"], 0);
  EXPECT_GT(result["faults"]["recovery_seconds"], 0);
  return result;
}

struct LostServer {
  const char* name;
  int signal;
  const char* transport;
};

class ReplacedServers : public testing::TestWithParam<LostServer> {};

TEST_P(ReplacedServers, GoOnToTheSameBits) {
  const KeepingJob job(GetParam().transport);
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
  const KeepingJob job;
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

// Of a job that ends by itself: the checkpoint of its last step and its evaluation are complete.
TEST(ReplacedServersTest, TheEndIsTheSame) {
  KeepingJob job;
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
  CountingJob job(std::string("kind = \"") + GetParam() + "\"\n");
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
}

INSTANTIATE_TEST_SUITE_P(Gates, CountingServers, testing::Values("bsp", "ssp", "asp"),
                         [](const auto& row) { return std::string(row.param); });

// What it has left is gone with the keeper: the job goes back to its checkpoint.
TEST(ReplacedServersTest, WithoutTheSnapshotAllRanksStartAgain) {
  const KeepingJob job;
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
