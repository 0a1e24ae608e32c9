// `sheaf train` is killed: its ranks finish their step and wait. Another one takes them over, and
// the job comes to the bits, or the count, of one that nobody interrupted; or nobody does, and all
// end with their step saved. The reference is the uninterrupted job.
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>

#include "tests/harness/counting_job.h"
#include "tests/process/orphaned_job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

std::set<long> pids(const Running& running) {
  std::set<long> all;
  for (const char* role : {"server", "worker"}) {
    for (const unsigned id : {0U, 1U}) all.insert(running.rank(role, id)["pid"].get<long>());
  }
  return all;
}

// One row for each step that has one, and in order.
void expect_rows_in_order(const Job& job, std::uint64_t last) {
  std::uint64_t before = 0;
  std::set<std::string> evaluated;
  std::ifstream rows(job.run() / "metrics.jsonl");
  for (std::string line; std::getline(rows, line);) {
    const auto row = nlohmann::json::parse(line);
    if (row["rate"].is_null()) {
      EXPECT_TRUE(evaluated.insert(row["split"].dump() + row["step"].dump()).second) << line;
      continue;
    }
    EXPECT_GT(row["step"], before) << line;
    before = row["step"];
  }
  EXPECT_EQ(before, last);
}

class Attached : public testing::TestWithParam<bool> {};

TEST_P(Attached, GoesOnWithTheSameProcessesToTheSameBits) {
  OrphanedJob job("60s");
  job.mpirun = GetParam();
  Running first(job);
  kill_supervisor(job, first);
  const std::set<long> before = pids(first);
  {
    Running second(job, job.attach());
    ASSERT_TRUE(second.wait_for_message("has taken the job over at step", kRun)) << second.errors();
    ASSERT_TRUE(gets_further(second)) << second.errors();
    ASSERT_TRUE(saves_another(job, second)) << second.errors();
    EXPECT_EQ(pids(second), before);
    second.signal(SIGKILL);  // that one, too
    ASSERT_EQ(second.wait(kRun), 128 + SIGKILL);
    Running third(job, job.attach());
    ASSERT_TRUE(third.wait_for_message("has taken the job over", kRun)) << third.errors();
    ASSERT_TRUE(gets_further(third)) << third.errors();
    EXPECT_EQ(pids(third), before);
    third.signal(SIGTERM);
    ASSERT_EQ(third.wait(patience(kRun)), 75) << third.errors();
    EXPECT_THAT(wait_for_descendants(patience(kAllGone)), IsEmpty());
    const nlohmann::json result = third.result();
    EXPECT_EQ(result["faults"]["restarts"], 0);
    EXPECT_EQ(result["faults"]["replacements"], 0);
    EXPECT_EQ(checkpoints_of(job).front(), result["steps"]);
    EXPECT_EQ(result["model_sha256"], reference_model(result["steps"]));
  }
}

INSTANTIATE_TEST_SUITE_P(Starts, Attached, testing::Bool(),
                         [](const auto& row) { return row.param ? "UnderMpirun" : "WithoutMpi"; });

// Also the evaluations, the report and the rows of metrics are those of an undisturbed job.
TEST(AttachTest, TheEndIsTheSame) {
  constexpr std::uint64_t kSteps = 4000;  // more than it takes until somebody has noticed
  OrphanedJob job("60s");
  job.overrides = {"run.steps=" + std::to_string(kSteps)};
  Running first(job);
  kill_supervisor(job, first);
  Running second(job, job.attach());
  ASSERT_EQ(second.wait(patience(kRun)), 0) << second.errors();
  EXPECT_EQ(outcome_of(second.result()), reference(kSteps));
  EXPECT_EQ(second.result()["bit_exact"], true);
  expect_rows_in_order(job, kSteps);
}

class CountingAttached : public testing::TestWithParam<const char*> {};

TEST_P(CountingAttached, LosesNothingAndCountsNothingTwice) {
  Orphaned<CountingJob> job("60s", std::string("kind = \"") + GetParam() + "\"\ntrace = true\n");
  Running first(job);
  kill_supervisor(job, first);
  Running second(job, job.attach());
  ASSERT_TRUE(second.wait_for_message("has taken the job over", kRun)) << second.errors();
  ASSERT_TRUE(gets_further(second)) << second.errors();
  second.signal(SIGTERM);
  ASSERT_EQ(second.wait(patience(kRun)), 75) << second.errors();
  const std::string_view gate = GetParam();
  const unsigned each = gate == "ssp" || gate == "asp" ? CountingJob::kPartitions : 1;
  EXPECT_EQ(count_of(job), each * second.result()["steps"].get<unsigned>());
  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output << verified.errors;
}

INSTANTIATE_TEST_SUITE_P(Gates, CountingAttached,
                         testing::Values("bsp", "ssp", "asp", "drop", "speculate"),
                         [](const auto& row) { return std::string(row.param); });

class NobodyComes : public testing::TestWithParam<bool> {};

TEST_P(NobodyComes, AllEndWithTheirStepSaved) {
  OrphanedJob job("500ms");
  job.tables["checkpoint"] = "every = \"1h\"\n";  // version 0 alone, but for the end
  job.mpirun = GetParam();
  std::uint64_t steps = 0;
  {
    Running running(job);
    kill_supervisor(job, running);
    const std::uint64_t before = newest_step(running);
    EXPECT_THAT(wait_for_descendants(patience(Limit(500 + 8000))), IsEmpty());
    const nlohmann::json result = running.result();
    ASSERT_TRUE(result.is_object());
    EXPECT_EQ(result["exit"], 75);
    steps = result["steps"];
    EXPECT_GE(steps, before);
    EXPECT_EQ(checkpoints_of(job).front(), steps);
    EXPECT_EQ(result["model_sha256"], reference_model(steps));
  }
  steps += 25;
  Running resumed(job, job.resume({"run.steps=" + std::to_string(steps)}));
  ASSERT_EQ(resumed.wait(patience(kRun)), 0) << resumed.errors();
  EXPECT_EQ(outcome_of(resumed.result()), reference(steps));
}

INSTANTIATE_TEST_SUITE_P(Starts, NobodyComes, testing::Bool(),
                         [](const auto& row) { return row.param ? "UnderMpirun" : "WithoutMpi"; });

// Then the step cannot be finished: the newest checkpoint is what is left.
TEST(AttachTest, NobodyComesAndAWorkerIsLost) {
  OrphanedJob job("500ms");
  {
    Running running(job);
    kill_supervisor(job, running);
    running.signal("worker", 1, SIGKILL);
    EXPECT_THAT(wait_for_descendants(patience(Limit(500 + 12'000))), IsEmpty());
    EXPECT_EQ(running.result()["exit"], 75);
  }
  const std::uint64_t steps = checkpoints_of(job).front() + 25;
  Running resumed(job, job.resume({"run.steps=" + std::to_string(steps)}));
  ASSERT_EQ(resumed.wait(patience(kRun)), 0) << resumed.errors();
  EXPECT_EQ(outcome_of(resumed.result()), reference(steps));
}

// Who waits leaves as soon as the job goes on elsewhere.
TEST(AttachTest, AJobThatIsResumedMeanwhileEndsWhoWaits) {
  OrphanedJob job("60s");
  Running first(job);
  kill_supervisor(job, first);
  const std::set<long> before = pids(first);
  const std::uint64_t steps = checkpoints_of(job).front() + 500;
  Running second(job, job.resume({"run.steps=" + std::to_string(steps)}));
  ASSERT_EQ(second.wait(patience(kRun)), 0) << second.errors();
  EXPECT_EQ(outcome_of(second.result()), reference(steps));
  EXPECT_THAT(wait_for_descendants(patience(Limit(5000))), IsEmpty());
}

TEST(AttachTest, WhatCannotBeTakenOverIsSaid) {
  OrphanedJob job("60s");
  const auto expect_refusal = [&](const char* says) {
    const Said refused = said(job, job.attach());
    EXPECT_EQ(refused.code, 2) << refused.errors;
    EXPECT_THAT(refused.errors, HasSubstr(says));
    EXPECT_EQ(std::ranges::count(refused.errors, '\n'), 1) << refused.errors;
  };
  expect_refusal("found no job");
  {
    Running running(job);
    ASSERT_TRUE(running.wait_for_training()) << running.errors();
    expect_refusal("is in use by another sheaf");
    ASSERT_TRUE(has_saved(job, running)) << running.errors();
    running.signal(SIGKILL);
    ASSERT_EQ(running.wait(kRun), 128 + SIGKILL);
  }  // and all its processes
  expect_refusal("found no process of the job that still runs");
  Running resumed(job, job.resume({"run.steps=5"}));
  ASSERT_TRUE(resumed.wait(patience(kRun)).has_value());
  expect_refusal("found a job that has ended");
}

}  // namespace
}  // namespace sheaf::harness
