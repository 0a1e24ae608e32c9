// One example whose input is so large that a gradient with it is not finite: what real jobs make of
// the step that has it.
#include <gmock/gmock.h>

#include <sstream>

#include "tests/harness/job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;

constexpr Limit kWhole(20000);
constexpr unsigned kEpochs = 3;

// 64 examples of y = x, 16 a step, but for one.
struct SpoiltJob : Job {
  explicit SpoiltJob(const std::string& non_finite, const std::string& gate = "bsp") {
    std::ostringstream rows;
    for (unsigned i = 0; i < 64; ++i)
      rows << (i == 21 ? 3e38 : 0.01 * i) << "," << 0.01 * i << "\n";
    tables["run"] += "partitions = 4\n";
    overrides = {"run.epochs=" + std::to_string(kEpochs)};
    tables["data"] =
        "kind = \"csv\"\npath = \"" + write("xy.csv", rows.str()).string() + "\"\nbatch = 16\n";
    tables["model"] = "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 1 }]\n";
    tables["optimizer"] = "kind = \"adam\"\nrate = 0.05\nnon_finite = \"" + non_finite + "\"\n";
    tables["consistency"] = "kind = \"" + gate + "\"\n";
  }
};

nlohmann::json result_of(const SpoiltJob& job, const std::string& says) {
  Running running(job);
  EXPECT_EQ(running.wait(patience(kWhole)), 0) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr(says));
  return running.result();
}

TEST(NonFinite, AbortEndsTheJob) {
  const SpoiltJob job("abort");
  Running running(job);
  EXPECT_EQ(running.wait(patience(kWhole)), 6) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("is not finite"));
}

// Once in each epoch; and the same bits on other numbers of workers and servers.
TEST(NonFinite, SkipLeavesOutTheStep) {
  std::string model;
  for (const unsigned size : {1U, 2U}) {
    SpoiltJob job("skip");
    job.set_size(size, 2 * size);
    const nlohmann::json result = result_of(job, "is skipped: its gradient is not finite");
    EXPECT_EQ(result["faults"]["skipped_steps"], kEpochs);
    EXPECT_EQ(result["faults"]["rejected_pushes"], 0);
    EXPECT_EQ(result["steps"], 4 * kEpochs);
    EXPECT_TRUE(result["bit_exact"]);
    if (model.empty()) model = result["model_sha256"];
    EXPECT_EQ(result["model_sha256"], model);
  }
}

TEST(NonFinite, RejectLeavesOutThePartition) {
  for (const std::string gate : {"bsp", "asp"}) {
    const SpoiltJob job("reject", gate);
    const nlohmann::json result = result_of(job, "whose gradient is not finite");
    EXPECT_EQ(result["faults"]["skipped_steps"], 0);
    EXPECT_EQ(result["faults"]["rejected_pushes"], kEpochs);
    EXPECT_EQ(result["steps"], 4 * kEpochs);
  }
}

}  // namespace
}  // namespace sheaf::harness
