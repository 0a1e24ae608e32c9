// Jobs whose pushes and pulls are compressed: they train through shared memory and over TCP, in
// every consistency model, and their traffic is what FORMAT.md says, frame by frame.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/checkpoint_job.h"

namespace sheaf::harness {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

constexpr Limit kWholeJob(60'000);
constexpr std::uint64_t kCompressedSteps = 30;
constexpr std::uint64_t kParameters = 32 * 64 + 64 + 64 + 1;  // of the small job

nlohmann::json run_compressed(const std::string& push, const std::string& pull,
                              const std::string& consistency = "kind = \"bsp\"\n",
                              const std::string& transport = "auto", unsigned workers = 2) {
  Job job;
  job.set_size(2, workers);
  job.tables["run"] += "partitions = 2\nsteps = " + std::to_string(kCompressedSteps) + "\n";
  job.tables["consistency"] = consistency;
  job.tables["compression"] = "push = { " + push + " }\npull = { " + pull + " }\n";
  job.tables["network"] = "transport = \"" + transport + "\"\n";
  Running running(job);
  EXPECT_EQ(running.wait(patience(kWholeJob)), 0) << running.errors();
  return running.result();
}

// What a push of one partition and a pull of one worker count for, a step.
std::uint64_t traffic(const nlohmann::json& result, const char* key) {
  return result["traffic"][key].get<std::uint64_t>();
}

TEST(Compression, TheBitsDependOnNeitherTransportNorWorkers) {
  const std::string push = "kind = \"int8\", rounding = \"stochastic\"", none = "kind = \"none\"";
  const auto shared = run_compressed(push, none);
  EXPECT_EQ(shared["transport"], "shm");
  const auto tcp = run_compressed(push, none, "kind = \"bsp\"\n", "tcp", 1);
  EXPECT_EQ(tcp["transport"], "tcp");
  EXPECT_EQ(shared["model_sha256"], tcp["model_sha256"]);
  EXPECT_TRUE(shared["bit_exact"]);
  EXPECT_NE(shared["model_sha256"], run_compressed(none, none)["model_sha256"]);
}

// All values as floats, through encoding and decoding.
TEST(Compression, WhatLosesNothingGivesTheModelOfNoCompression) {
  const std::string none = "kind = \"none\"";
  EXPECT_EQ(run_compressed("kind = \"topk\", ratio = 1.0", none)["model_sha256"],
            run_compressed(none, none)["model_sha256"]);
}

TEST(Compression, TrafficIsCountedInFramesAsTheyAreSent) {
  const std::string half = "kind = \"fp16\"";
  const auto result = run_compressed(half, half);
  EXPECT_EQ(result["transport"], "tcp");  // what is decoded is not what lies in a server's memory
  // Two partitions push in each step; two workers pull before each step and at the end.
  const std::uint64_t pushed = 2 * kCompressedSteps * kParameters;
  const std::uint64_t pulled = 2 * (kCompressedSteps + 1) * kParameters;
  EXPECT_EQ(traffic(result, "push_bytes_raw") - traffic(result, "push_bytes"), 2 * pushed);
  EXPECT_EQ(traffic(result, "pull_bytes_raw") - traffic(result, "pull_bytes"), 2 * pulled);
  EXPECT_EQ((traffic(result, "push_bytes_raw") - 4 * pushed) % 64, 0U);  // headers
  EXPECT_LT(result["train"]["loss"], 1.0);
}

TEST(Compression, EveryConsistencyModelTakesEveryCompressor) {
  const std::string models[] = {
      "kind = \"bsp\"\n", "kind = \"ssp\"\nstaleness = 2\n", "kind = \"asp\"\n",
      "kind = \"local\"\nsteps = 2\ninner = { kind = \"sgd\", rate = 0.01 }\n"};
  const std::pair<std::string, std::string> pairs[] = {
      {"kind = \"int8\"", "kind = \"bf16\""},
      {"kind = \"int4\", rounding = \"stochastic\"", "kind = \"int8\""},
      {"kind = \"topk\", ratio = 0.1, values = 8", "kind = \"none\""},
      {"kind = \"randomk\", ratio = 0.5", "kind = \"none\""},
      {"kind = \"sign\", feedback = \"ef\"", "kind = \"fp16\""}};
  for (std::size_t i = 0; i < std::size(pairs); ++i) {
    const std::string& model = models[i % std::size(models)];
    SCOPED_TRACE(model + pairs[i].first);
    const auto result = run_compressed(pairs[i].first, pairs[i].second, model);
    EXPECT_EQ(result["steps"], kCompressedSteps);
    EXPECT_LT(traffic(result, "push_bytes"), traffic(result, "push_bytes_raw"));
    EXPECT_TRUE(result["train"]["loss"].is_number());
  }
}

// What workers have is in the checkpoint, beside the parameters. The reference is a job that nobody
// interrupts.
struct DifferencesJob : SmallJob {
  DifferencesJob() {
    tables["network"] += "transport = \"tcp\"\n";
    tables["compression"] =
        "pull = { kind = \"topk\", ratio = 0.05, values = 8, feedback = \"ef21p\" }\n";
    tables["recovery"] = "restarts = 3\nsnapshot = \"none\"\n";
  }
};

TEST(Compression, DifferencesGoOnWithTheSameBitsAfterLossesAndWithOtherWorkers) {
  DifferencesJob job;
  std::uint64_t steps = 0;
  {
    Running running(job);
    for (const char* role : {"worker", "server"}) {  // the first is replaced, for the second all
      ASSERT_TRUE(saves_another(job, running)) << running.errors();
      running.signal(role, 1, SIGKILL);
      ASSERT_TRUE(running.wait_until(
          [&] {
            const nlohmann::json row = running.rank(role, 1);
            return row.is_object() && row["incarnation"] != 0 && row["state"] == "running";
          },
          kRun))
          << running.errors();
    }
    running.signal(SIGTERM);
    ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
    EXPECT_TRUE(running.result()["bit_exact"]);
    steps = running.result()["steps"].get<std::uint64_t>() + 20;
  }
  const std::string end = "run.steps=" + std::to_string(steps);
  job.set_size(1, 4);
  Running resumed(job, job.resume({end, "run.servers=1", "run.workers=4"}));
  ASSERT_EQ(resumed.wait(patience(kRun)), 0) << resumed.errors();

  DifferencesJob whole;
  whole.overrides = {end};
  Running undisturbed(whole);
  ASSERT_EQ(undisturbed.wait(patience(kRun)), 0) << undisturbed.errors();
  EXPECT_EQ(outcome_of(resumed.result()), outcome_of(undisturbed.result()));
}

// Through shared memory nothing is faster than none; and of one candidate there is no choice. The
// choice is that of the job from then on: in its files, and when it goes on.
TEST(Compression, WhatWasChosenIsRecordedAndKept) {
  SmallJob job;
  job.tables["run"] += "steps = 40\n";
  job.tables["compression"] =
      "push = { kind = \"auto\", candidates = [{ kind = \"int8\", block = 32 }] }\n"
      "pull = { kind = \"auto\" }\n";
  {
    Running running(job);
    ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
    EXPECT_THAT(running.errors(), HasSubstr("compression.push: auto takes int8"));
    EXPECT_THAT(running.errors(), HasSubstr("compression.pull: auto takes none: through shared"));
    const std::string config = running.file("config.toml");
    EXPECT_THAT(config, HasSubstr("[compression.push]\nkind = \"int8\"\nblock = 32\n"));
    EXPECT_THAT(config, HasSubstr("[compression.pull]\nkind = \"none\"\n"));
    EXPECT_THAT(running.file("checkpoints/step-000000000040/MANIFEST"),
                ContainsRegex("\"compression.push.kind\": *\"int8\""));
  }
  Running resumed(job, job.resume({"run.steps=60"}));
  ASSERT_EQ(resumed.wait(patience(kRun)), 0) << resumed.errors();
  EXPECT_EQ(resumed.result()["steps"], 60);
  EXPECT_THAT(resumed.errors(), testing::Not(HasSubstr("auto takes")));
  EXPECT_THAT(resumed.file("config.toml"), HasSubstr("kind = \"int8\"\nblock = 32\n"));
}

TEST(Compression, AGradientThatIsNotFiniteHasDivergedAsWithoutCompression) {
  Job job;
  job.tables["optimizer"] = "kind = \"sgd\"\nrate = 1e30\n";
  job.tables["compression"] = "push = { kind = \"int8\" }\n";
  Running running(job);
  EXPECT_EQ(running.wait(patience(kWholeJob)), 6);
  EXPECT_THAT(running.errors(), HasSubstr("lower"));
}

}  // namespace
}  // namespace sheaf::harness
