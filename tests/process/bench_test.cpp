// `sheaf bench step` as a program reads it: its keys, and how they depend on each other. No speed
// is expected.
#include <gmock/gmock.h>

#include <set>

#include "launcher/rank/local_training.h"
#include "launcher/run/model_file.h"
#include "tests/harness/job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;

constexpr Limit kEnd(60'000);

nlohmann::json figures_of(const Job& job, std::vector<std::string> more) {
  std::vector<std::string> arguments = {"bench", "step", job.write_job(), "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  Running running(job, job.command(arguments));
  EXPECT_EQ(running.wait(patience(kEnd)), 0) << running.errors();
  return nlohmann::json::parse(running.output(), nullptr, false);
}

void expect_figures(const nlohmann::json& figures) {
  ASSERT_TRUE(figures.is_object());
  std::set<std::string> keys;
  for (const auto& [key, value] : figures.items()) keys.insert(key);
  const std::set<std::string> expected = {"step_ms",
                                          "compute_ms",
                                          "exchange_ms",
                                          "exposed_ms",
                                          "displaced_ms",
                                          "optimizer_ms",
                                          "ps_tax",
                                          "baseline_step_ms",
                                          "blas_share",
                                          "allocations_per_step",
                                          "gflops",
                                          "sgemm_gflops",
                                          "gemm_ratio",
                                          "privacy_price",
                                          "partition_price",
                                          "data_price",
                                          "price_of_p",
                                          "compute_alone_ms",
                                          "batch",
                                          "workers",
                                          "servers",
                                          "partitions",
                                          "steps"};
  EXPECT_EQ(keys, expected);
  const auto at = [&](const char* key) { return figures[key].get<double>(); };
  for (const char* key : {"step_ms", "compute_ms", "baseline_step_ms", "gflops", "sgemm_gflops",
                          "partition_price", "data_price", "compute_alone_ms", "steps"}) {
    EXPECT_GT(at(key), 0) << key;
  }
  EXPECT_NEAR(at("ps_tax"), at("step_ms") / at("baseline_step_ms") - 1, 1e-9);
  EXPECT_NEAR(at("gemm_ratio"), at("gflops") / at("sgemm_gflops"), 1e-9);
  EXPECT_LE(at("compute_ms"), at("step_ms"));
  EXPECT_LT(at("allocations_per_step"), 1);
  EXPECT_EQ(figures["price_of_p"]["1"], 1.0);
  EXPECT_EQ(figures["price_of_p"].size(), 4U);
  // The products of the small job, per example: 32 x 64 forward and its weights' gradient, 64 x 1
  // forward, weights' and inputs' gradient. The first layer's inputs have none.
  const double flops = at("batch") / at("workers") * 2 * (2 * 32 * 64 + 3 * 64);
  EXPECT_NEAR(at("gflops"), 1e-6 * flops / at("compute_ms"), 1e-6 * at("gflops"));
}

TEST(BenchStep, FiguresOfAJobDependOnEachOtherAsTheirNamesSay) {
  const Job job;
  const nlohmann::json figures = figures_of(job, {});
  expect_figures(figures);
  EXPECT_GT(figures["exchange_ms"], 0.0);
  EXPECT_EQ(figures["workers"], 2);
  EXPECT_EQ(figures["servers"], 2);
  EXPECT_GT(figures["privacy_price"]["central"], 0.0);
  EXPECT_GT(figures["privacy_price"]["local"], 0.0);
}

TEST(BenchStep, PrivacyHasNoPriceWhereItCannotBeHad) {
  const Job job;
  const nlohmann::json figures = figures_of(job, {"optimizer.clip_norm=1.0"});
  EXPECT_EQ(figures["privacy_price"], nlohmann::json({{"central", nullptr}, {"local", nullptr}}));
}

TEST(BenchStep, WithoutServersAStepIsItsOwnBaseline) {
  const Job job;
  const nlohmann::json figures = figures_of(job, {"run.servers=0"});
  expect_figures(figures);
  EXPECT_EQ(figures["servers"], 0);
  EXPECT_EQ(figures["step_ms"], figures["baseline_step_ms"]);
  EXPECT_EQ(figures["ps_tax"], 0.0);
  EXPECT_EQ(figures["exchange_ms"], 0.0);
  EXPECT_EQ(figures["exposed_ms"], 0.0);
}

TEST(BenchStep, TheTextSaysWhatEachFigureMeans) {
  const Job job;
  Running running(job, job.command({"bench", "step", job.write_job(), "run.servers=0"}));
  ASSERT_EQ(running.wait(patience(kEnd)), 0) << running.errors();
  EXPECT_THAT(running.output(), HasSubstr("what the parameter server costs: step / baseline - 1"));
}

TEST(BenchStep, NoOtherCommandGoesWithoutServers) {
  const Job job;
  for (const std::string command : {"check", "train"}) {
    Running running(job, job.command({command, job.write_job(), "run.servers=0"}));
    EXPECT_EQ(running.wait(patience(kEnd)), 2) << command;
    EXPECT_THAT(running.errors(),
                HasSubstr("run.servers: found 0, expected an integer from 1 to 4096"));
  }
}

// The baseline is the same training, not just the same amount of work.
TEST(BenchStep, TrainingWithoutServersGivesTheBitsOfAJob) {
  Job job;
  job.set_size(2, 1);
  job.tables["run"] += "partitions = 5\nsteps = 40\n";
  job.tables["data"] =
      "kind = \"synthetic_sum\"\nexamples = 333\ntest_examples = 101\nfeatures = 32\n"
      "batch = 60\nnormalise = \"standard\"\n";
  job.tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\nclip_norm = 1.0\n";
  Running running(job);
  ASSERT_EQ(running.wait(patience(Limit(30'000))), 0) << running.errors();

  launcher::RunConfig config = launcher::RunConfig::load(job / "job.toml", {});
  config.require_sound();
  launcher::WorkerRole role(config, 0);
  role.load([](std::string_view, std::map<std::uint32_t, std::vector<double>> mine) {
    std::vector<std::vector<double>> all;
    for (auto& [partition, values] : mine) all.push_back(std::move(values));
    return params::tree_sum(all);
  });
  launcher::LocalTraining training(config, role);
  for (int step = 0; step < 40; ++step) {
    training.compute();
    training.optimize();
  }
  EXPECT_EQ(running.result()["model_sha256"], launcher::model_sha256(training.parameters()));
}

}  // namespace
}  // namespace sheaf::harness
