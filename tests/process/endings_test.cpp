// How a job ends when somebody ends it: from the keyboard, by a signal, or by killing the one who
// watches. And what is refused before anything begins.
#include <gmock/gmock.h>

#include <csignal>

#include "launcher/run/model_file.h"
#include "tests/harness/job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr Limit kEndOfJob(3000);
constexpr Limit kDead(5000);  // timeouts.dead of the job

// It ended as asked, after a whole step, saved it, and wrote its model. The test part is kept for
// the end of the job.
void expect_drained(Running& running) {
  constexpr int code = 75;
  ASSERT_EQ(running.wait(patience(kEndOfJob)), code) << running.errors();
  EXPECT_THAT(wait_for_descendants(patience(kAllGone)), IsEmpty());
  const nlohmann::json result = running.result();
  ASSERT_TRUE(result.is_object());
  EXPECT_EQ(result["exit"], code);
  EXPECT_FALSE(result.contains("error"));
  EXPECT_GT(result["steps"], 0);
  EXPECT_EQ(result["checkpoint"]["step"], result["steps"]);
  EXPECT_GT(result["checkpoint"]["lane_pause_ms"]["n"], 0);
  EXPECT_GT(result["checkpoint"]["lane_pause_ms"]["p99"], 0);
  EXPECT_TRUE(result["test"]["loss"].is_null());
  const auto model = launcher::read_model(running.run() / "model.safetensors");
  EXPECT_EQ(model.sha256, result["model_sha256"]);
  EXPECT_EQ(model.parameters.size(), result["parameters"]);
  EXPECT_THAT(running.output(), testing::EndsWith(running.run().string() + "\n"));
}

void drain_by(int signal) {
  const Job job;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal(signal);
  expect_drained(running);
}

TEST(Faults, CtrlCFinishesTheStepAndSavesIt) { drain_by(SIGINT); }
TEST(Faults, SigtermFinishesTheStepAndSavesIt) { drain_by(SIGTERM); }
TEST(Faults, Sigusr1FinishesTheStepAndSavesIt) { drain_by(SIGUSR1); }

TEST(Faults, ASecondCtrlCEndsAtOnce) {
  const Job job;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("worker", 1, SIGSTOP);  // so that the step can never be finished
  running.signal(SIGINT);
  ASSERT_TRUE(running.wait_for_message("again stops at once", Limit(1000)));
  running.signal(SIGINT);
  ASSERT_EQ(running.wait(patience(kEndOfJob)), 130) << running.errors();
  EXPECT_THAT(wait_for_descendants(patience(kAllGone)), IsEmpty());
  EXPECT_EQ(running.result()["exit"], 130);
  EXPECT_TRUE(running.result()["model_sha256"].is_null());
}

// What is interrupted before it trains has no model, and says so.
void interrupt_the_start(int signal, int code) {
  Job job;
  job.remove_seat("worker:1");
  Running running(job);
  ASSERT_TRUE(running.wait_until([&] { return running.has_arrived("server", 1); }, Limit(10'000)));
  running.signal(signal);
  ASSERT_EQ(running.wait(patience(kEndOfJob)), code) << running.errors();
  EXPECT_THAT(wait_for_descendants(patience(kAllGone)), IsEmpty());
  EXPECT_EQ(running.result()["exit"], code);
  EXPECT_THAT(running.result()["error"]["text"], "interrupted before training began");
}

TEST(Faults, CtrlCBeforeAllRanksHaveArrived) { interrupt_the_start(SIGINT, 130); }
TEST(Faults, SigtermBeforeAllRanksHaveArrived) { interrupt_the_start(SIGTERM, 143); }

TEST(Faults, RanksEndByThemselvesWhenTheSupervisorIsKilled) {
  const Job job;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal(SIGKILL);
  ASSERT_EQ(running.wait(patience(kEndOfJob)), 128 + SIGKILL);
  const std::vector<pid_t> left = wait_for_descendants(patience(kDead + kEndOfJob));
  EXPECT_THAT(left, IsEmpty()) << describe(left);
  EXPECT_THAT(running.file("logs/mpirun.err"), HasSubstr("the coordinator has left"));
}

TEST(Faults, RanksEndByThemselvesWhenTheSupervisorStops) {
  const Job job;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal(SIGSTOP);
  const std::vector<pid_t> left = wait_for_descendants(patience(kDead + kEndOfJob), running.pid());
  EXPECT_THAT(left, IsEmpty()) << describe(left);
  EXPECT_THAT(running.file("logs/mpirun.err"), HasSubstr("the coordinator has been silent for"));
}

struct Refusal {
  const char* name;
  std::vector<std::string> arguments;
  std::vector<std::string> says;
};

// Each exits with 2, in no time, and starts nothing.
TEST(Faults, UsageIsCheckedBeforeAnythingStarts) {
  const std::vector<Refusal> refusals = {
      {"nothing to go on from", {"train", "--resume", "/nowhere"}, {"/nowhere/config.toml"}},
      {"no such command", {"trian", "job.toml"}, {"trian", "train"}},
      {"no command", {}, {"train"}},
      {"no job file", {"train"}, {"JOB.toml"}},
      {"job file is missing", {"train", "/nowhere/job.toml"}, {"/nowhere/job.toml"}},
      {"no such option", {"train", "job.toml", "--fast"}, {"--fast"}},
      {"a job that is not running",
       {"rank", "job.toml", "--join", "/nowhere/control.json", "--process", "worker:0"},
       {}},
  };
  for (const Refusal& refusal : refusals) {
    const Job job;
    Running running(job, job.command(refusal.arguments));
    EXPECT_EQ(running.wait(patience(kEndOfJob)), 2) << refusal.name << running.errors();
    for (const std::string& part : refusal.says) {
      EXPECT_THAT(running.errors(), HasSubstr(part)) << refusal.name;
    }
    EXPECT_NE(running.errors(), "") << refusal.name;
    EXPECT_EQ(running.output(), "") << refusal.name;
    EXPECT_THAT(descendants(), IsEmpty()) << refusal.name;
  }
}

}  // namespace
}  // namespace sheaf::harness
