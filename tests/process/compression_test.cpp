// Jobs whose pushes and pulls are compressed: they train through shared memory and over TCP, in
// every consistency model, and their traffic is what FORMAT.md says, frame by frame.
#include <gmock/gmock.h>

#include "tests/harness/job.h"

namespace sheaf::harness {
namespace {

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
