// Jobs whose steps go without the last partitions. All examples of a counting job are the same, so
// the mean over whoever came first is that over all: after t steps every weight is t times its
// input (tests/harness/counting_job.h), whoever was dropped.
#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/harness/checkpoint_job.h"
#include "tests/harness/counting_job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::Not;

struct DropJob : CountingJob {
  DropJob() : CountingJob("kind = \"drop\"\nbackup = 2\ntrace = true\n") {
    tables["recovery"] = "restarts = 3\n";
    tables["timeouts"] = "beat = \"100ms\"\nsuspect = \"500ms\"\ndead = \"60s\"\n";
  }
  std::uint64_t newest() const {
    const auto steps = checkpoints_of(*this);
    return steps.empty() ? 0 : steps.front();
  }
  // It saves a later step. Asks for its status meanwhile, for want of files that change in RUN.
  bool goes_on(std::uint64_t step) const {
    const auto deadline = std::chrono::steady_clock::now() + kRun;
    while (newest() <= step) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      say(*this, {"status"});
    }
    return true;
  }
  bool saves_after(Running& running, std::uint64_t step) const {
    return running.wait_until([&] { return newest() > step; }, kRun);
  }
};

void expect_drained(const DropJob& job, Running& running) {
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const nlohmann::json result = running.result();
  EXPECT_FALSE(result["bit_exact"]);
  EXPECT_EQ(result["checkpoint"]["step"], result["steps"]);
  EXPECT_GT(result["faults"]["dropped_pushes"], 0);
  EXPECT_EQ(count_of(job), result["steps"].get<std::uint64_t>());
}

// The two partitions of a worker that stops are not waited for; when it goes on, it is at once
// where the others are, and the job ends as ever.
TEST(Drop, AStoppedWorkerHoldsUpNobody) {
  const DropJob job;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("worker", 1, SIGSTOP);
  // Twice: the first may have been under way. Rows of metrics wait for the stopped one.
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(job.goes_on(job.newest())) << running.errors();
  running.signal("worker", 1, SIGCONT);
  running.signal(SIGTERM);
  expect_drained(job, running);
  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output;
  EXPECT_THAT(verified.output, Not(HasSubstr("has no end")));
}

// Whole after a killed worker, which is replaced, a killed server, after which all start again, and
// an end that somebody asks for; then on other numbers of both.
TEST(Drop, NoStepIsLostOrCountedTwice) {
  DropJob job;
  std::uint64_t steps = 0;
  {
    Running running(job);
    ASSERT_TRUE(job.saves_after(running, 0)) << running.errors();
    running.signal("worker", 1, SIGKILL);
    const auto runs_again = [&](std::string_view role) {
      const nlohmann::json row = running.rank(role, 1);
      return row.is_object() && row["incarnation"] > 0 && row["state"] == "running";
    };
    ASSERT_TRUE(running.wait_until([&] { return runs_again("worker"); }, kRun)) << running.errors();
    ASSERT_TRUE(job.saves_after(running, job.newest())) << running.errors();
    running.signal("server", 1, SIGKILL);
    ASSERT_TRUE(running.wait_until([&] { return runs_again("server"); }, kRun)) << running.errors();
    ASSERT_TRUE(job.saves_after(running, job.newest())) << running.errors();
    running.signal(SIGTERM);
    expect_drained(job, running);
    EXPECT_EQ(running.result()["faults"]["replacements"], 1);
    EXPECT_EQ(running.result()["faults"]["restarts"], 1);
    steps = running.result()["steps"];
  }
  steps += 30;
  job.set_size(1, 3);
  Running running(
      job, job.resume({"run.steps=" + std::to_string(steps), "run.servers=1", "run.workers=3"}));
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(running.result()["steps"], steps);
  EXPECT_EQ(count_of(job), steps);
  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output;
  EXPECT_THAT(verified.output, Not(HasSubstr("broken")));

  // A trace of the last start that somebody has cut.
  for (const auto& entry : std::filesystem::directory_iterator(job.run() / "trace")) {
    const std::string text = contents_of(entry.path());
    if (!text.ends_with("end " + std::to_string(steps) + " 2\n")) continue;
    std::ofstream(entry.path()) << text.substr(0, text.size() / 2);
    break;
  }
  const Said cut = say(job, {"verify"});
  EXPECT_EQ(cut.code, 1) << cut.output;
  EXPECT_THAT(cut.output, HasSubstr("found 1 that end at step " + std::to_string(steps)));
}

}  // namespace
}  // namespace sheaf::harness
