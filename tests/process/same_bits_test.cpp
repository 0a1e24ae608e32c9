// The promise of bsp: with a fixed number of partitions, one model, bit for bit, for any number of
// workers, servers and lanes. Each job is a few steps, so it costs little more than its start.
#include <gtest/gtest.h>

#include "tests/harness/job.h"

namespace sheaf::harness {
namespace {

std::string model_of(unsigned servers, unsigned workers, unsigned lanes) {
  Job job;
  job.set_size(servers, workers);
  job.tables["run"] += "partitions = 8\nsteps = 40\n";
  job.tables["data"] =
      "kind = \"synthetic_sum\"\nexamples = 999\ntest_examples = 101\nfeatures = 32\n"
      "batch = 60\nvalidation = 0.1\nnormalise = \"standard\"\n";
  job.tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\nclip_norm = 1.0\n";
  job.tables["network"] = "chunk_kib = 1\nlanes = " + std::to_string(lanes) + "\n";
  Running running(job);
  EXPECT_EQ(running.wait(patience(Limit(30'000))), 0) << running.errors();
  const nlohmann::json result = running.result();
  if (!result.is_object()) return "no result";
  EXPECT_TRUE(result["bit_exact"]);
  EXPECT_EQ(result["steps"], 40);
  // Sums of losses and figures are promised, too.
  return result["model_sha256"].get<std::string>() + " " + result["train"].dump() +
         result["validation"].dump() + result["test"].dump();
}

class SameBits : public testing::TestWithParam<unsigned> {};

TEST_P(SameBits, ForAnyNumberOfServersAndLanes) {
  static const std::string reference = model_of(1, 1, 1);
  for (const unsigned servers : {1U, 2U, 3U}) {
    for (const unsigned lanes : {1U, 2U}) {
      EXPECT_EQ(model_of(servers, GetParam(), lanes), reference)
          << servers << " servers of " << lanes << " lanes, " << GetParam() << " workers";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Workers, SameBits, testing::Values(1, 2, 3, 4, 8),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace sheaf::harness
