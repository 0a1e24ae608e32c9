// A sweep over links of two rates: the rate is set, measured, and the bound of the exchange held.
#include <gmock/gmock.h>

#include "tests/hosts/test_hosts.h"

namespace sheaf::harness {
namespace {

TEST(Scaling, StaysWithinTheBoundOfTheLinks) {
  const TestHosts hosts(3);
  if (!hosts.missing().empty()) GTEST_SKIP() << hosts.missing();
  Job job;
  job.mpirun = true;
  job.tables["launch"] = hosts.launch();
  // A million parameters, 4 MB; batches of nothing.
  job.tables["data"] = "kind = \"synthetic_sum\"\nexamples = 64\nfeatures = 1024\nbatch = 3\n";
  job.tables["model"] =
      "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 1024, activation = \"tanh\" },\n"
      "  { kind = \"dense\", units = 1 }]\n";
  job.tables["scaling"] =
      "workers = [3]\nservers = [0]\nsteps = 8\nrates = [\"400mbit\", \"100mbit\"]\n"
      "rate_command = \"" +
      hosts.rate_command() + "\"\n";
  std::filesystem::create_directories(job.run());
  Running running(job, hosts.on(1, job.command({"bench", "scaling", job.write_job(), "--json",
                                                "run.dir=" + job.run().string()})));
  ASSERT_EQ(running.wait(Limit(90'000)), 0) << running.errors();
  const auto json = nlohmann::json::parse(running.output(), nullptr, false);
  ASSERT_TRUE(json.is_object()) << running.output();
  ASSERT_EQ(json["points"].size(), 2U);
  const double rates[] = {400e6 / 8, 100e6 / 8};
  for (unsigned i = 0; i < 2; ++i) {
    const auto& point = json["points"][i];
    EXPECT_EQ(point["hosts"], 3);
    EXPECT_LT(point["link_bytes_per_s"], 1.02 * rates[i]);
    EXPECT_GT(point["link_bytes_per_s"], 0.6 * rates[i]);
    // 2n(n-1)M / (n² B): four thirds of the model.
    const double bound =
        4.0 / 3 * point["model_bytes"].get<double>() / point["link_bytes_per_s"].get<double>();
    EXPECT_NEAR(point["bound_ms"].get<double>(), 1e3 * bound, 1e-6);
    EXPECT_GT(point["share"], 0.2) << point;
    EXPECT_LT(point["share"], 1.3) << "faster than the links: the bound is wrong\n" << point;
  }
}

}  // namespace
}  // namespace sheaf::harness
