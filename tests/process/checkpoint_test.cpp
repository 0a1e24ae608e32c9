// A job goes on from its checkpoints, with any number of servers and workers, and ends with the
// bits of a job that was never interrupted. The reference is that job.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <csignal>
#include <fstream>

#include "tests/harness/checkpoint_job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr Limit kGone(8000);  // timeouts.dead and a little: until ranks without a supervisor left

std::filesystem::path folder_of(const Job& job, std::uint64_t step) {
  return job.run() / "checkpoints" / fmt::format("step-{:012}", step);
}

TEST(Checkpoints, AJobThatWasInterruptedEndsWithTheSameBits) {
  SmallJob job;
  std::uint64_t steps = 0;
  {
    Running running(job);
    ASSERT_TRUE(running.wait_for_training()) << running.errors();
    running.signal(SIGTERM);
    ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
    steps = running.result()["steps"];
  }
  struct Size {
    unsigned servers, workers;
  };
  for (const Size size : {Size{3, 1}, Size{1, 4}}) {
    job.set_size(size.servers, size.workers);
    steps += 30;
    Running running(job, job.resume({"run.steps=" + std::to_string(steps),
                                     "run.servers=" + std::to_string(size.servers),
                                     "run.workers=" + std::to_string(size.workers)}));
    ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
    EXPECT_EQ(running.result()["steps"], steps);
    EXPECT_EQ(outcome_of(running.result()), reference(steps));
  }
  // One row for each step that has one, and in order: nothing of what was done twice is left.
  std::uint64_t before = 0;
  std::ifstream rows(job.run() / "metrics.jsonl");
  for (std::string line; std::getline(rows, line);) {
    const auto row = nlohmann::json::parse(line);
    EXPECT_GE(row["step"], before);
    before = row["step"];
  }
  EXPECT_EQ(before, steps);
}

// The supervisor goes without a word, and its ranks after it.
std::uint64_t kill_after_two_checkpoints(Job& job) {
  Running running(job);
  EXPECT_TRUE(running.wait_until([&] { return checkpoints_of(job).size() >= 2; }, kRun))
      << running.errors();
  running.signal(SIGKILL);
  EXPECT_EQ(running.wait(patience(kGone)), 128 + SIGKILL);
  EXPECT_THAT(wait_for_descendants(patience(kGone)), IsEmpty());
  const auto steps = checkpoints_of(job);
  EXPECT_GE(steps.size(), 2);
  return steps.front();
}

TEST(Checkpoints, AKilledJobGoesOnFromTheNewestCheckpoint) {
  SmallJob job;
  const std::uint64_t newest = kill_after_two_checkpoints(job);
  const std::uint64_t steps = newest + 25;
  Running running(job, job.resume({"run.steps=" + std::to_string(steps)}));
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("goes on from step " + std::to_string(newest)));
  EXPECT_EQ(outcome_of(running.result()), reference(steps));
}

TEST(Checkpoints, ADamagedCheckpointIsPassedOverAloud) {
  SmallJob job;
  kill_after_two_checkpoints(job);
  const auto steps = checkpoints_of(job);
  const auto damage = [&](std::uint64_t step) {
    std::filesystem::path name = folder_of(job, step) / "server-0.safetensors";
    if (!std::filesystem::exists(name)) name.replace_filename("server-1.safetensors");
    std::fstream file(name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-3, std::ios::end);
    file.put('!');
  };
  damage(steps[0]);
  {
    Running running(job, job.resume({"run.steps=" + std::to_string(steps[1] + 25)}));
    ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
    EXPECT_THAT(running.errors(), HasSubstr("the checkpoint of step " + std::to_string(steps[0]) +
                                            " is damaged: step-"));
    EXPECT_THAT(running.errors(), HasSubstr("goes on from step " + std::to_string(steps[1])));
    EXPECT_EQ(outcome_of(running.result()), reference(steps[1] + 25));
  }
  for (const std::uint64_t step : checkpoints_of(job)) damage(step);
  Running running(job, job.resume({}));
  EXPECT_EQ(running.wait(patience(kRun)), 5) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("every checkpoint is damaged"));
}

// What was saved before is still there: a job that is preempted again and again comes to its end.
TEST(Checkpoints, AJobInterruptedBeforeItGoesOnCanGoOnLater) {
  SmallJob job;
  const std::uint64_t newest = kill_after_two_checkpoints(job);
  job.remove_seat("worker:1");
  {
    Running running(job, job.resume({}));
    ASSERT_TRUE(running.wait_until(
        [&] { return running.errors().find("goes on from") != std::string::npos; }, kRun));
    running.signal(SIGTERM);
    EXPECT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  }
  EXPECT_EQ(checkpoints_of(job).front(), newest);
}

TEST(Checkpoints, WhatIsAnotherJobIsRefused) {
  SmallJob job;
  {
    job.overrides = {"run.steps=5"};
    Running running(job);
    ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  }
  const std::string before = contents_of(job.run() / "result.json");
  struct Refusal {
    std::vector<std::string> words;
    int exit;
    const char* says;
  };
  for (const Refusal& refusal : {
           Refusal{{"run.partitions=8"}, 2, "run.partitions: found 8, expected 4 as in the checkp"},
           Refusal{{"run.seed=8"}, 2, "run.seed: found 8, expected 7"},
           Refusal{{"data.batch=30"}, 2, "data.batch: found 30, expected 60"},
           Refusal{{"--resume-step", "4"}, 5, "no checkpoint of step 4; there are those of step"},
           Refusal{{"job.toml"}, 2, "overrides only"},
       }) {
    Running running(job, job.resume(refusal.words));
    EXPECT_EQ(running.wait(patience(kRun)), refusal.exit) << running.errors();
    EXPECT_THAT(running.errors(), HasSubstr(refusal.says));
  }
  EXPECT_EQ(contents_of(job.run() / "result.json"), before);
}

}  // namespace
}  // namespace sheaf::harness
