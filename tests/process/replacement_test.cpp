// A job that loses a worker has another one in its place while everybody else goes on: the same
// bits, or the same count, as a job that lost nobody. The reference is that job.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/checkpoint_job.h"
#include "tests/harness/counting_job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// Has no end of its own, and nothing to go back to but its beginning.
struct LosingJob : SmallJob {
  LosingJob() {
    tables["recovery"] = "restarts = 100\n";
    tables["checkpoint"] = "every = \"1h\"\n";
  }
};

// The worker has such an incarnation, and the job has got further since.
bool goes_on(Running& running, unsigned worker, unsigned incarnation) {
  const bool there = running.wait_until(
      [&] {
        const nlohmann::json row = running.rank("worker", worker);
        return row.is_object() && row["incarnation"] == incarnation && row["state"] == "running";
      },
      kRun);
  return there &&
         running.wait_until(
             [&, before = newest_step(running)] { return newest_step(running) > before + 20; },
             kRun);
}

void expect_replaced(Running& running, unsigned replacements) {
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  EXPECT_THAT(wait_for_descendants(patience(kAllGone)), IsEmpty());
  const nlohmann::json result = running.result();
  const nlohmann::json& faults = result["faults"];
  EXPECT_EQ(faults["replacements"], replacements);
  EXPECT_EQ(faults["restarts"], 0);
  EXPECT_EQ(faults["rolled_back_steps"], 0);
  EXPECT_GT(faults["recovery_seconds"], 0);
  // With what the lost ones had pushed, as the rows count it.
  std::string rows = running.file("metrics.jsonl");
  rows.pop_back();
  const auto last = nlohmann::json::parse(rows.substr(rows.rfind('\n') + 1));
  EXPECT_GE(result["traffic"]["push_bytes"], last["push_bytes"]);
  EXPECT_GE(result["traffic"]["pull_bytes"], last["pull_bytes"]);
}

struct LostWorker {
  const char* name;
  unsigned worker;
  int signal;
  const char* transport;
  const char* says;
};

class Replacements : public testing::TestWithParam<LostWorker> {};

TEST_P(Replacements, GoOnToTheSameBits) {
  LosingJob job;
  job.tables["network"] += std::string("transport = \"") + GetParam().transport + "\"\n";
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  const nlohmann::json server = running.rank("server", 0);
  const nlohmann::json other = running.rank("worker", 1 - GetParam().worker);
  running.signal("worker", GetParam().worker, GetParam().signal);
  ASSERT_TRUE(goes_on(running, GetParam().worker, 1)) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr(GetParam().says));
  EXPECT_THAT(running.errors(), HasSubstr("another process takes its place"));
  // Nobody else has stopped.
  EXPECT_EQ(running.rank("server", 0), server);
  EXPECT_EQ(running.rank("worker", 1 - GetParam().worker), other);
  expect_replaced(running, 1);
  const nlohmann::json result = running.result();
  EXPECT_EQ(result["model_sha256"], reference_model(result["steps"]));
}

INSTANTIATE_TEST_SUITE_P(
    Workers, Replacements,
    testing::Values(LostWorker{"Killed", 1, SIGKILL, "auto", "worker 1 on "},
                    LostWorker{"KilledOverTcp", 1, SIGKILL, "tcp", "worker 1 on "},
                    LostWorker{"WhoGaveTheFirstValues", 0, SIGKILL, "auto", "worker 0 on "},
                    LostWorker{"Stopped", 0, SIGSTOP, "auto", "taken for dead"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ReplacementsTest, OneAfterAnotherAndTwoAtOnce) {
  LosingJob job;
  job.tables["checkpoint"] = "every = \"50ms\"\n";
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  unsigned incarnation = 0;
  for (const unsigned worker : {0U, 1U, 1U, 0U}) {
    ASSERT_TRUE(saves_another(job, running)) << running.errors();
    running.signal("worker", worker, SIGKILL);
    ASSERT_TRUE(goes_on(running, worker, ++incarnation)) << running.errors();
  }
  ASSERT_TRUE(saves_another(job, running)) << running.errors();
  running.signal("worker", 0, SIGKILL);
  running.signal("worker", 1, SIGKILL);
  const auto both = [&] {
    const nlohmann::json first = running.rank("worker", 0), second = running.rank("worker", 1);
    return first["incarnation"] > 4 && second["incarnation"] > 4 && first["state"] == "running" &&
           second["state"] == "running";
  };
  ASSERT_TRUE(running.wait_until(both, kRun)) << running.errors();
  expect_replaced(running, 6);
  const nlohmann::json result = running.result();
  EXPECT_EQ(result["model_sha256"], reference_model(result["steps"]));
}

// A successor that computes a step again, from other parameters, adds it where it is missing.
class CountingReplacements : public testing::TestWithParam<const char*> {};

TEST_P(CountingReplacements, LoseNothingAndCountNothingTwice) {
  CountingJob job(std::string("kind = \"") + GetParam() + "\"\ntrace = true\n");
  job.tables["recovery"] = "restarts = 100\n";
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  unsigned incarnation = 0;
  for (const unsigned worker : {1U, 0U, 1U}) {
    ASSERT_TRUE(saves_another(job, running)) << running.errors();
    running.signal("worker", worker, SIGKILL);
    ASSERT_TRUE(goes_on(running, worker, ++incarnation)) << running.errors();
  }
  expect_replaced(running, 3);
  // In bsp the mean of all partitions is one step.
  const unsigned each = std::string_view(GetParam()) == "bsp" ? 1 : CountingJob::kPartitions;
  EXPECT_EQ(count_of(job), each * running.result()["steps"].get<unsigned>());
  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output << verified.errors;
}

// Who is asked to end while a successor is on its way ends with all that the lost one has pushed.
TEST_P(CountingReplacements, AnEndMeetsASuccessorThatHasNotBegun) {
  CountingJob job(std::string("kind = \"") + GetParam() + "\"\n");
  job.tables["recovery"] = "restarts = 100\n";
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("worker", 1, SIGKILL);
  ASSERT_TRUE(running.wait_for_message("another process takes its place", kRun));
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const unsigned each = std::string_view(GetParam()) == "bsp" ? 1 : CountingJob::kPartitions;
  EXPECT_EQ(count_of(job), each * running.result()["steps"].get<unsigned>());
}

INSTANTIATE_TEST_SUITE_P(Gates, CountingReplacements, testing::Values("bsp", "ssp", "asp"),
                         [](const auto& row) { return std::string(row.param); });

// A survivor is the lost worker as well, in its own process.
TEST(ReplacementsTest, WhoCannotBeStartedIsTakenOnByASurvivor) {
  LosingJob job;
  job.set_size(2, 3);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  std::filesystem::remove(job.run() / "control.json");  // which a successor reads
  running.signal("worker", 0, SIGKILL);
  ASSERT_TRUE(goes_on(running, 0, 2)) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("was to take the place of worker 0"));
  EXPECT_THAT(running.errors(), HasSubstr("worker 1 takes on its partitions"));
  EXPECT_EQ(running.rank("worker", 0)["pid"], running.rank("worker", 1)["pid"]);
  running.signal("worker", 2, SIGKILL);  // worker 0 has no process of its own to be it in
  ASSERT_TRUE(goes_on(running, 2, 4)) << running.errors();
  EXPECT_EQ(running.rank("worker", 2)["pid"], running.rank("worker", 1)["pid"]);
  expect_replaced(running, 2);
  const nlohmann::json result = running.result();
  EXPECT_EQ(result["model_sha256"], reference_model(result["steps"]));
}

TEST(ReplacementsTest, WhereNobodyIsLeftAllRanksStartAgain) {
  const LosingJob job;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  // A successor reads it; a new start writes it again.
  std::filesystem::remove(job.run() / "control.json");
  running.signal("worker", 0, SIGKILL);
  running.signal("worker", 1, SIGKILL);
  ASSERT_TRUE(running.wait_for_message("was to take the place of worker", kRun))
      << running.errors();
  ASSERT_TRUE(running.wait_for_message("goes on from step 0", kRun)) << running.errors();
  ASSERT_TRUE(goes_on(running, 0, 3)) << running.errors();
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const nlohmann::json result = running.result();
  EXPECT_EQ(result["faults"]["restarts"], 1);
  EXPECT_EQ(result["faults"]["replacements"], 2);
  EXPECT_EQ(result["model_sha256"], reference_model(result["steps"]));
}

// The budget of replacements is one, and nothing is saved meanwhile: the second loss has a survivor
// take on the partitions, in every consistency model. A third one leaves nobody.
TEST_P(CountingReplacements, WhoIsLostOnceTooOftenIsTakenOnByASurvivor) {
  CountingJob job(std::string("kind = \"") + GetParam() + "\"\ntrace = true\n");
  job.tables["recovery"] = "restarts = 1\n";
  job.tables["checkpoint"] = "every = \"1h\"\n";
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  ASSERT_TRUE(has_saved(job, running)) << running.errors();
  running.signal("worker", 1, SIGKILL);
  ASSERT_TRUE(goes_on(running, 1, 1)) << running.errors();
  running.signal("worker", 1, SIGKILL);
  ASSERT_TRUE(goes_on(running, 1, 2)) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("worker 0 takes on its partitions"));
  EXPECT_EQ(running.rank("worker", 1)["pid"], running.rank("worker", 0)["pid"]);
  expect_replaced(running, 2);
  const unsigned each = std::string_view(GetParam()) == "bsp" ? 1 : CountingJob::kPartitions;
  EXPECT_EQ(count_of(job), each * running.result()["steps"].get<unsigned>());
  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output << verified.errors;
}

TEST(ReplacementsTest, WhoLosesAlsoTheSurvivorEnds) {
  LosingJob job;
  job.tables["recovery"] = "restarts = 1\n";
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  ASSERT_TRUE(has_saved(job, running)) << running.errors();
  running.signal("worker", 1, SIGKILL);
  ASSERT_TRUE(goes_on(running, 1, 1)) << running.errors();
  running.signal("worker", 1, SIGKILL);
  ASSERT_TRUE(goes_on(running, 1, 2)) << running.errors();
  running.signal("worker", 0, SIGKILL);
  ASSERT_EQ(running.wait(patience(kRun)), 4) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("giving up (recovery.restarts)"));
}

// Of a job that ends by itself: also the final model, the evaluations and the report are complete.
TEST(ReplacementsTest, TheEndIsTheSame) {
  LosingJob job;
  job.overrides = {"run.steps=3000"};
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("worker", 1, SIGKILL);
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(running.result()["faults"]["replacements"], 1);
  EXPECT_EQ(outcome_of(running.result()), reference(3000));
}

}  // namespace
}  // namespace sheaf::harness
