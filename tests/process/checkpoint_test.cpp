// A job goes on from its checkpoints, with any number of servers and workers, and ends with the
// bits of a job that was never interrupted. The reference is that job.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "tests/harness/job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr Limit kRun(30'000);
constexpr Limit kGone(8000);  // timeouts.dead and a little: until ranks without a supervisor left

// Without an end of its own: tests give it one.
struct SmallJob : Job {
  SmallJob() {
    tables["run"] += "partitions = 4\n";
    tables["data"] =
        "kind = \"synthetic_sum\"\nexamples = 999\ntest_examples = 101\nfeatures = 32\n"
        "batch = 60\nvalidation = 0.1\n";
    tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\nclip_norm = 1.0\n";
    // One chunk of two blocks of the optimizer, and one of all that is small: a third server is
    // idle.
    tables["model"] =
        "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 256, activation = \"tanh\" },\n"
        "  { kind = \"dense\", units = 1 }]\n";
    tables["network"] = "chunk_kib = 64\nlanes = 2\n";
    tables["checkpoint"] = "every = \"50ms\"\n";
  }
};

std::string outcome(const nlohmann::json& result) {
  if (!result.is_object()) return "no result";
  return result["model_sha256"].dump() + result["train"].dump() + result["validation"].dump() +
         result["test"].dump();
}

// What a job of so many steps comes to when nobody interrupts it.
std::string reference(std::uint64_t steps) {
  SmallJob job;
  job.overrides = {"run.steps=" + std::to_string(steps)};
  Running running(job);
  EXPECT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  return outcome(running.result());
}

// Steps of which there is a manifest, newest first.
std::vector<std::uint64_t> checkpoints_of(const Job& job) {
  std::vector<std::uint64_t> steps;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(job.run() / "checkpoints", none)) {
    if (std::filesystem::exists(entry.path() / "MANIFEST", none)) {
      steps.push_back(std::stoull(entry.path().filename().string().substr(5)));
    }
  }
  std::ranges::sort(steps, std::greater<>());
  return steps;
}

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
    EXPECT_EQ(outcome(running.result()), reference(steps));
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
  EXPECT_EQ(outcome(running.result()), reference(steps));
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
    EXPECT_EQ(outcome(running.result()), reference(steps[1] + 25));
  }
  for (const std::uint64_t step : checkpoints_of(job)) damage(step);
  Running running(job, job.resume({}));
  EXPECT_EQ(running.wait(patience(kRun)), 5) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("every checkpoint is damaged"));
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
