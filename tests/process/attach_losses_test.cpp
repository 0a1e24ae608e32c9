// A job loses processes, and its `sheaf train` before, at the same time or after: whoever takes it
// over replaces them. The reference is the undisturbed job.
#include <gmock/gmock.h>

#include <csignal>
#include <set>

#include "tests/process/orphaned_job.h"

namespace sheaf::harness {
namespace {

// The model after so many steps of a job with these tables that nobody disturbs.
std::string model_of_the_undisturbed(const Job& job, const nlohmann::json& steps) {
  SmallJob undisturbed;
  for (const char* table : {"data", "optimizer"}) undisturbed.tables[table] = job.tables.at(table);
  undisturbed.overrides = {"run.steps=" + steps.dump()};
  Running running(undisturbed);
  EXPECT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  return running.result()["model_sha256"];
}

// In its second life, or a later one.
bool lives_again(Running& running, const char* role, unsigned id, unsigned incarnation = 1) {
  return running.wait_until(
      [&] {
        const nlohmann::json row = running.rank(role, id);
        return row["incarnation"] == incarnation && row["state"] == "running";
      },
      kRun);
}

// It is asked to end, and has lost nothing but so many processes, which were replaced.
void expect_the_same_end(const Job& job, Running& running, unsigned replacements) {
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const nlohmann::json result = running.result();
  EXPECT_EQ(result["faults"]["replacements"], replacements) << running.errors();
  EXPECT_EQ(result["faults"]["restarts"], 0) << running.errors();
  EXPECT_EQ(result["model_sha256"], model_of_the_undisturbed(job, result["steps"]));
}

// Who died with it is replaced by the one that takes over, in place where memory outlives a server.
TEST(AttachTest, WhoIsLostMeanwhileIsReplaced) {
  OrphanedJob job("60s");
  job.tables["recovery"] += "snapshot = \"shm\"\n";
  job.tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\n";
  Running first(job);
  kill_supervisor(job, first);
  first.signal("worker", 1, SIGKILL);
  first.signal("server", 1, SIGKILL);
  Running second(job, job.attach());
  ASSERT_TRUE(second.wait_until(
      [&] {
        return second.rank("worker", 1)["incarnation"] > 0 &&
               second.rank("server", 1)["incarnation"] > 0;
      },
      kRun))
      << second.errors();
  ASSERT_TRUE(gets_further(second)) << second.errors();
  expect_the_same_end(job, second, 2);
}

// Nobody has come in its place yet, but whose memory there is to go on with is known.
TEST(AttachTest, AServerThatWasAwaitedIsReplacedInPlace) {
  OrphanedJob job("60s");
  job.tables["recovery"] += "snapshot = \"shm\"\n";
  job.tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\n";
  job.tables["checkpoint"] = "every = \"1h\"\n";  // so that further losses have pauses
  Running first(job);
  ASSERT_TRUE(first.wait_for_training()) << first.errors();
  ASSERT_TRUE(has_saved(job, first)) << first.errors();
  for (const unsigned life : {1U, 2U, 3U}) {  // until the pause is long enough to act in it
    first.signal("server", 1, SIGKILL);
    ASSERT_TRUE(lives_again(first, "server", 1, life)) << first.errors();
    ASSERT_TRUE(gets_further(first)) << first.errors();
  }
  const std::set<long> workers = {first.rank("worker", 0)["pid"].get<long>(),
                                  first.rank("worker", 1)["pid"].get<long>()};
  first.signal("server", 1, SIGKILL);
  ASSERT_TRUE(first.wait_for_message("another process takes its place in 4 s", kRun));
  ASSERT_TRUE(first.wait_until([&] { return !first.has_arrived("server", 1); }, kRun));
  kill_train(first);
  Running second(job, job.attach());
  ASSERT_TRUE(second.wait_for_message("has taken the job over", kRun)) << second.errors();
  ASSERT_TRUE(gets_further(second)) << second.errors();
  for (const unsigned id : {0U, 1U}) {
    EXPECT_TRUE(workers.contains(second.rank("worker", id)["pid"].get<long>()));
  }
  expect_the_same_end(job, second, 1);
}

// Who loads data sums over that of all workers, who have done so long ago: before the supervisor
// dies, or after another one has taken over.
class LoadingAttached : public testing::TestWithParam<bool> {};

TEST_P(LoadingAttached, ASuccessorLearnsWhatTheOthersHaveSummed) {
  OrphanedJob job("60s");
  job.tables["data"] =  // takes a moment to load
      "kind = \"synthetic_sum\"\nexamples = 500000\ntest_examples = 256\nfeatures = 32\n"
      "batch = 64\nnormalise = \"standard\"\n";
  const bool before = GetParam();
  Running first(job);
  ASSERT_TRUE(first.wait_for_training()) << first.errors();
  ASSERT_TRUE(has_saved(job, first)) << first.errors();
  if (before) {
    first.signal("worker", 1, SIGKILL);
    ASSERT_TRUE(lives_again(first, "worker", 1)) << first.errors();
  }
  kill_supervisor(job, first);
  Running second(job, job.attach());
  ASSERT_TRUE(second.wait_for_message("has taken the job over", kRun)) << second.errors();
  if (!before) {
    ASSERT_TRUE(gets_further(second)) << second.errors();
    second.signal("worker", 1, SIGKILL);
    ASSERT_TRUE(lives_again(second, "worker", 1)) << second.errors();
  }
  ASSERT_TRUE(gets_further(second)) << second.errors();
  second.signal(SIGTERM);
  ASSERT_EQ(second.wait(patience(kRun)), 75) << second.errors();
  const nlohmann::json result = second.result();
  EXPECT_EQ(result["faults"]["restarts"], 0) << second.errors();
  EXPECT_EQ(result["model_sha256"], model_of_the_undisturbed(job, result["steps"]));
}

INSTANTIATE_TEST_SUITE_P(Losses, LoadingAttached, testing::Bool(), [](const auto& row) {
  return row.param ? "BeforeTheTakeover" : "AfterIt";
});

// Where no successor can start: it reads control.json.
void lose_to_a_survivor(const Job& job, Running& running, unsigned worker) {
  const auto control = job.run() / "control.json", hidden = job.run() / "hidden.json";
  std::filesystem::rename(control, hidden);
  const std::uint64_t before = running.rank("worker", worker)["incarnation"];
  running.signal("worker", worker, SIGKILL);
  const auto is_there = [&] {
    const nlohmann::json row = running.rank("worker", worker);
    return row["incarnation"] > before + 1 && row["state"] == "running";
  };
  EXPECT_TRUE(running.wait_until(is_there, kRun)) << running.errors();
  EXPECT_TRUE(gets_further(running)) << running.errors();
  std::filesystem::rename(hidden, control);
}

// It comes back as both that it is, and is known to be: worker 2 moves to worker 1, since worker 0
// has no process of its own.
TEST(AttachTest, ASurvivorThatIsAnotherWorkerAsWellStaysBoth) {
  OrphanedJob job("60s");
  job.set_size(2, 3);
  Running first(job);
  ASSERT_TRUE(first.wait_for_training()) << first.errors();
  lose_to_a_survivor(job, first, 0);
  kill_supervisor(job, first);
  const nlohmann::json moved = first.rank("worker", 0), host = first.rank("worker", 1);
  ASSERT_EQ(moved["pid"], host["pid"]) << first.errors();
  Running second(job, job.attach());
  ASSERT_TRUE(second.wait_for_message("has taken the job over", kRun)) << second.errors();
  ASSERT_TRUE(gets_further(second)) << second.errors();
  EXPECT_EQ(second.rank("worker", 0)["incarnation"], moved["incarnation"]);
  lose_to_a_survivor(job, second, 2);
  EXPECT_EQ(second.rank("worker", 2)["pid"], host["pid"]) << second.errors();
  ASSERT_TRUE(gets_further(second)) << second.errors();
  second.signal(SIGTERM);
  ASSERT_EQ(second.wait(patience(kRun)), 75) << second.errors();
  const nlohmann::json result = second.result();
  EXPECT_EQ(result["faults"]["restarts"], 0);
  EXPECT_EQ(result["model_sha256"], reference_model(result["steps"]));
}

// Its process is lost meanwhile, and with it both.
TEST(AttachTest, WithASurvivorThatIsLostBothAreReplaced) {
  OrphanedJob job("60s");
  job.set_size(2, 3);
  Running first(job);
  ASSERT_TRUE(first.wait_for_training()) << first.errors();
  lose_to_a_survivor(job, first, 0);
  kill_supervisor(job, first);
  first.signal("worker", 1, SIGKILL);
  Running second(job, job.attach());
  ASSERT_TRUE(second.wait_for_message("has taken the job over", kRun)) << second.errors();
  ASSERT_TRUE(gets_further(second)) << second.errors();
  EXPECT_NE(second.rank("worker", 0)["pid"], second.rank("worker", 1)["pid"]);
  second.signal(SIGTERM);
  ASSERT_EQ(second.wait(patience(kRun)), 75) << second.errors();
  const nlohmann::json result = second.result();
  EXPECT_EQ(result["faults"]["replacements"], 2) << second.errors();
  EXPECT_EQ(result["model_sha256"], reference_model(result["steps"]));
}

// Whose replica lies where is known to who takes over, from the ranks: it goes on with that.
TEST(AttachTest, ALostServerWithAReplicaIsReplacedInPlace) {
  OrphanedJob job("60s");
  job.tables["recovery"] += "snapshot = \"none\"\nreplicas = 2\n";
  job.tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\n";
  Running first(job);
  kill_supervisor(job, first);
  Running second(job, job.attach());
  ASSERT_TRUE(second.wait_for_message("has taken the job over", kRun)) << second.errors();
  ASSERT_TRUE(gets_further(second)) << second.errors();
  second.signal("server", 1, SIGKILL);
  ASSERT_TRUE(lives_again(second, "server", 1)) << second.errors();
  ASSERT_TRUE(gets_further(second)) << second.errors();
  expect_the_same_end(job, second, 1);
}

// A server without a snapshot: all ranks start again, under the one that has taken over.
TEST(AttachTest, ALostServerStartsTheJobAgain) {
  OrphanedJob job("60s");
  job.tables["recovery"] += "snapshot = \"none\"\n";
  Running first(job);
  kill_supervisor(job, first);
  Running second(job, job.attach());
  ASSERT_TRUE(second.wait_for_message("has taken the job over", kRun)) << second.errors();
  ASSERT_TRUE(saves_another(job, second)) << second.errors();
  second.signal("server", 1, SIGKILL);
  ASSERT_TRUE(second.wait_for_message("goes on from step", kRun)) << second.errors();
  ASSERT_TRUE(gets_further(second)) << second.errors();
  second.signal(SIGTERM);
  ASSERT_EQ(second.wait(patience(kRun)), 75) << second.errors();
  const nlohmann::json result = second.result();
  EXPECT_EQ(result["faults"]["restarts"], 1);
  EXPECT_EQ(result["model_sha256"], reference_model(result["steps"]));
}

}  // namespace
}  // namespace sheaf::harness
