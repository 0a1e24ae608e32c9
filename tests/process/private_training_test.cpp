// Jobs that train with privacy: what is in their ledgers, what they state, and when they stop. What
// steps cost is asked of the accountant, which has tests of its own.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cmath>
#include <csignal>
#include <span>
#include <vector>

#include "common/checkpoint/posix_disk.h"
#include "common/privacy/accounting/accountant.h"
#include "common/privacy/correlated/prefix_factor.h"
#include "common/privacy/ledger/ledger_file.h"
#include "common/privacy/ledger/spent.h"
#include "tests/common/privacy/ledger/row_model.h"
#include "tests/harness/checkpoint_job.h"

namespace sheaf::harness {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kExamples = 900;
constexpr double kRate = 60.0 / kExamples;

struct PrivateJob : Job {
  explicit PrivateJob(const std::string& where) {
    tables["run"] += "partitions = 4\n";
    tables["data"] =
        "kind = \"synthetic_sum\"\nexamples = 900\ntest_examples = 101\nfeatures = 32\n"
        "batch = 60\nsampling = \"poisson\"\n";
    tables["optimizer"] = "kind = \"sgd\"\nrate = 0.01\n";
    tables["model"] =
        "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 64, activation = \"tanh\" },\n"
        "  { kind = \"dense\", units = 1 }]\n";
    tables["network"] = "chunk_kib = 4\nlanes = 2\n";
    tables["checkpoint"] = "every = \"50ms\"\n";
    tables["privacy"] =
        fmt::format("kind = \"gaussian\"\nwhere = \"{}\"\nnoise = 1.5\ndelta = 1e-4\n", where);
    environment["XDG_STATE_HOME"] = (folder() / "state").string();
  }
  fs::path secrets() const { return folder() / "state/sheaf/secrets"; }
  privacy::RowModel ledger() const {
    return privacy::RowModel(contents_of(run() / "ledger.jsonl"));
  }
};

double cost_of(std::uint64_t steps, double noise = 1.5) {
  const privacy::GaussianSteps all{kRate, noise, steps};
  return privacy::epsilon_of({&all, 1}, 1e-4, privacy::Adjacency::add_remove,
                             privacy::Method::tight)
      .value;
}

class PrivateTraining : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Where, PrivateTraining, testing::Values("central", "local"),
                         [](const auto& test) { return test.param; });

TEST_P(PrivateTraining, EveryStepIsInTheLedgerAndTheStatementIsItsEpsilon) {
  PrivateJob job(GetParam());
  job.overrides = {"run.steps=30"};
  Running running(job);
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  const auto ledger = job.ledger();
  const std::uint32_t accounts = GetParam() == "local" ? 4 : 1;
  for (std::uint32_t p = 0; p < accounts; ++p) {
    for (std::uint64_t step = 0; step < 30; ++step) EXPECT_EQ(ledger.releases(p, step), 1U);
    EXPECT_EQ(ledger.releases(p), 30U);
  }
  const auto statement = running.result()["privacy"];
  EXPECT_NEAR(statement["epsilon"].get<double>(), cost_of(30), 1e-7);
  EXPECT_EQ(statement["steps"], 30);
  EXPECT_EQ(statement["releases"], 30);
  EXPECT_EQ(statement["epsilon_vs"]["server"].is_null(), GetParam() == "central");
  EXPECT_THAT(running.file("metrics.jsonl"), HasSubstr("\"epsilon\":"));
}

// Releases of gradients and counts together cost what those of gradients alone do.
TEST_P(PrivateTraining, ABoundThatAdaptsCostsNothingMoreAndIsStated) {
  PrivateJob job(GetParam());
  job.tables["privacy"] += "clipping = \"adaptive\"\nquantile = 0.6\n";
  job.overrides = {"run.steps=30"};
  Running running(job);
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  const auto statement = running.result()["privacy"];
  EXPECT_NEAR(statement["epsilon"].get<double>(), cost_of(30), 1e-7);
  EXPECT_EQ(statement["noise"], 1.5);
  EXPECT_EQ(statement["clip"], 1);
  EXPECT_EQ(statement["clipping"], "adaptive");
  EXPECT_EQ(statement["quantile"], 0.6);
  EXPECT_NEAR(statement["count_noise"].get<double>(), 15, 0.1);  // 1.5 / (2 sqrt(0.0025))
  EXPECT_GT(statement["bound"].get<double>(), 0);
  EXPECT_NE(statement["bound"], 1);
}

TEST_P(PrivateTraining, SecretsAreOutsideTheRunDirectoryAndNowhereInIt) {
  PrivateJob job(GetParam());
  job.overrides = {"run.steps=10"};
  Running running(job);
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  std::vector<std::string> secrets;
  for (const auto& file : fs::directory_iterator(job.secrets())) {
    if (file.path().extension() == ".turn") continue;  // no secret: the run has it, too
    struct stat status{};
    ASSERT_EQ(::stat(file.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U) << file.path();
    secrets.push_back(contents_of(file.path()).substr(0, 64));
  }
  ASSERT_EQ(secrets.size(), 2U);
  for (const auto& file : fs::recursive_directory_iterator(job.run())) {
    if (!file.is_regular_file()) continue;
    const std::string contents = contents_of(file.path());
    for (const std::string& secret : secrets) EXPECT_THAT(contents, Not(HasSubstr(secret)));
  }
}

// It has saved twice, and ends without a word.
void crash(const Job& job) {
  Running running(job);
  ASSERT_TRUE(running.wait_until([&] { return checkpoints_of(job).size() >= 2; }, kRun))
      << running.errors();
  running.signal(SIGKILL);
  EXPECT_EQ(running.wait(patience(kRun)), 128 + SIGKILL);
  EXPECT_THAT(wait_for_descendants(patience(kRun)), testing::IsEmpty());
}

// Also where what examples are clipped to is what the steps before have found: it is in the
// checkpoint, to the bit.
class PrivateReplays : public testing::TestWithParam<std::tuple<std::string, std::string>> {};
INSTANTIATE_TEST_SUITE_P(WhereAndHow, PrivateReplays,
                         testing::Combine(testing::Values("central", "local"),
                                          testing::Values("flat", "adaptive")),
                         [](const auto& test) {
                           return std::get<0>(test.param) + "_" + std::get<1>(test.param);
                         });

TEST_P(PrivateReplays, AfterACrashThoseThatReleaseTheSameAreFree) {
  PrivateJob job(std::get<0>(GetParam()));
  job.tables["privacy"] += "clipping = \"" + std::get<1>(GetParam()) + "\"\n";
  crash(job);
  const std::uint64_t before = job.ledger().releases(0);
  const std::uint64_t from = checkpoints_of(job).front();
  ASSERT_GE(before, from);
  const std::uint64_t steps = before + 20;
  Running running(job, job.resume({"run.steps=" + std::to_string(steps)}));
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  const auto statement = running.result()["privacy"];
  EXPECT_EQ(statement["steps"], steps);
  EXPECT_GE(statement["releases"].get<std::uint64_t>(), steps);
  EXPECT_LE(statement["releases"].get<std::uint64_t>(), steps + 1) << "one step for one crash";
}

// The same steps of the same samples: with the same deviates in another size, two releases of a
// step would show the sum that they hide.
TEST_P(PrivateTraining, StepsThatAreTakenAgainWithOtherNoiseAreChargedAgain) {
  PrivateJob job(GetParam());
  job.overrides = {"run.steps=40"};
  {
    Running running(job);
    ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  }
  const std::uint64_t from = checkpoints_of(job).back();
  ASSERT_LT(from, 40U);
  std::vector<std::string> options = {"privacy.noise=3", "--resume-step", std::to_string(from)};
  Running running(job, job.resume(options));
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  const auto statement = running.result()["privacy"];
  EXPECT_EQ(statement["steps"], 40);
  EXPECT_EQ(statement["releases"], 40 + (40 - from));
  const double both = 1 / std::sqrt(1 / (1.5 * 1.5) + 1 / (3.0 * 3.0));
  const std::vector<privacy::GaussianSteps> all = {{kRate, 1.5, from}, {kRate, both, 40 - from}};
  EXPECT_NEAR(statement["epsilon"].get<double>(),
              privacy::epsilon_of(std::span(all).subspan(from == 0 ? 1 : 0), 1e-4,
                                  privacy::Adjacency::add_remove, privacy::Method::tight)
                  .value,
              1e-7);
  EXPECT_EQ(job.ledger().releases(0), 40 + (40 - from));
}

// Another one in its place could release a step that is open once more, with other noise.
TEST_P(PrivateTraining, WhoeverIsLostAllStartAgainAndOneReleaseIsCharged) {
  PrivateJob job(GetParam());
  job.tables["recovery"] = "restarts = 5\n";
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  ASSERT_TRUE(has_saved(job, running)) << running.errors();
  running.signal("worker", 1, SIGKILL);
  const auto again = [&](std::string_view role) {
    const nlohmann::json row = running.rank(role, 0);
    return row.is_object() && row["incarnation"] == 1 && row["state"] == "running";
  };
  ASSERT_TRUE(running.wait_until([&] { return again("server") && again("worker"); }, kRun))
      << running.errors();
  ASSERT_TRUE(running.wait_until(
      [&, before = newest_step(running)] { return newest_step(running) > before + 40; }, kRun))
      << running.errors();
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  EXPECT_THAT(running.errors(), Not(HasSubstr("takes its place")));
  EXPECT_THAT(running.errors(), Not(HasSubstr("takes on its partitions")));
  const auto result = running.result();
  EXPECT_EQ(result["faults"]["restarts"], 1);
  EXPECT_EQ(result["faults"]["replacements"], 0);
  const auto steps = result["privacy"]["steps"].get<std::uint64_t>();
  EXPECT_GE(steps, result["steps"].get<std::uint64_t>());
  EXPECT_GE(result["privacy"]["releases"].get<std::uint64_t>(), steps);
  EXPECT_LE(result["privacy"]["releases"].get<std::uint64_t>(), steps + 1);
}

// Under another split an example is in other steps: the ledger would say too little of it.
TEST(PrivateJobs, AnotherSplitIsRefused) {
  PrivateJob job("central");
  job.overrides = {"run.steps=10"};
  {
    Running running(job);
    ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  }
  Running running(job, job.resume({"run.steps=20", "data.validation=0.1"}));
  EXPECT_EQ(running.wait(patience(kRun)), 2) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("data.validation: found 0.1, expected 0 as in"));
  EXPECT_EQ(job.ledger().releases(0), 10U);
}

// What would be overwritten is what somebody may want to go on with otherwise.
TEST(PrivateJobs, WhatTheLedgerRefusesLeavesTheRunAsItWas) {
  PrivateJob job("central");
  job.overrides = {"run.steps=40"};
  {
    Running running(job);
    ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  }
  const auto state = [&] {
    std::vector<std::string> files;
    for (const char* name :
         {"config.toml", "metrics.jsonl", "result.json", "model.safetensors", "ledger.jsonl"}) {
      files.push_back(contents_of(job.run() / name));
    }
    return files;
  };
  const auto before = state();
  const auto checkpoints = checkpoints_of(job);
  {  // that budget is spent, and it would go back behind what metrics say
    Running running(job, job.resume({"run.steps=50", "optimizer.rate=0.02",
                                     fmt::format("privacy.epsilon={:.6f}", cost_of(20)),
                                     "--resume-step", std::to_string(checkpoints.back())}));
    EXPECT_EQ(running.wait(patience(kRun)), 7) << running.errors();
  }
  EXPECT_EQ(state(), before);
  EXPECT_EQ(checkpoints_of(job), checkpoints);
  {  // an adjacency that the steps so far were not accounted by
    Running running(job, job.resume({"run.steps=50", "privacy.adjacency=replace-one"}));
    EXPECT_EQ(running.wait(patience(kRun)), 2) << running.errors();
    EXPECT_THAT(running.errors(), HasSubstr("the ledger of this job is about"));
  }
  EXPECT_EQ(state(), before);
  Running running(job, job.resume({"run.steps=50"}));
  EXPECT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(job.ledger().releases(0), 50U);
}

// 60 of 180 users in a step on average, with 3 of their 5 examples.
TEST_P(PrivateTraining, OfUsersIsChargedAtTheirRateAndSaysSo) {
  PrivateJob job(GetParam());
  job.tables["data"] += "users = 180\n";
  job.tables["privacy"] += "unit = \"user\"\nexamples_per_user = 3\n";
  job.overrides = {"run.steps=10"};
  {
    Running running(job);
    ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  }
  {
    Running running(job, job.resume({"run.steps=12", "data.users=90"}));
    EXPECT_EQ(running.wait(patience(kRun)), 2) << running.errors();
    EXPECT_THAT(running.errors(), HasSubstr("data.users: found 90, expected 180 as in"));
  }
  Running running(job, job.resume({"run.steps=20"}));
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(job.ledger().releases(0), 20U);
  const auto statement = running.result()["privacy"];
  EXPECT_EQ(statement["unit"], "user");
  EXPECT_EQ(statement["examples_per_user"], 3);
  EXPECT_DOUBLE_EQ(statement["sampling_rate"].get<double>(), 60.0 / 180);
  const privacy::GaussianSteps all{60.0 / 180, 1.5, 20};
  const double epsilon =
      privacy::epsilon_of({&all, 1}, 1e-4, privacy::Adjacency::add_remove, privacy::Method::tight)
          .value;
  EXPECT_NEAR(statement["epsilon"].get<double>(), epsilon, 1e-7);
  const Answer answer =
      ask_program({"privacy", "--from", job.run().string(), "--json"}, patience(kRun));
  ASSERT_EQ(answer.code, 0) << answer.errors;
  const auto spent = nlohmann::json::parse(answer.output);
  EXPECT_EQ(spent["unit"], "user");
  EXPECT_EQ(spent["examples_per_user"], 3);
  EXPECT_NEAR(spent["epsilon"].get<double>(), epsilon, 1e-7);
}

TEST(PrivateJobs, WithLostSecretsEverythingIsChargedAnew) {
  PrivateJob job("central");
  std::uint64_t from = 0, before = 0;
  {
    Running running(job);
    ASSERT_TRUE(running.wait_for_training()) << running.errors();
    running.signal(SIGTERM);
    ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
    from = running.result()["steps"];
    before = job.ledger().releases(0);
    EXPECT_EQ(before, from);
  }
  fs::remove_all(job.secrets());
  // From the very first checkpoint: all steps are taken again, by other samples.
  for (const std::uint64_t step : checkpoints_of(job)) {
    if (step != checkpoints_of(job).back()) {
      fs::remove_all(job.run() / "checkpoints" / fmt::format("step-{:012}", step));
    }
  }
  const std::uint64_t first = checkpoints_of(job).back();
  Running running(job, job.resume({"run.steps=" + std::to_string(from + 5)}));
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(running.result()["privacy"]["steps"], before + from + 5 - first);
}

TEST(PrivateJobs, AJobEndsBeforeItsBudgetIsPassedAndKeepsItsModel) {
  PrivateJob job("central");
  const double budget = cost_of(25) + 1e-6;
  job.overrides = {fmt::format("privacy.epsilon={:.9f}", budget)};
  {
    Running running(job);
    ASSERT_EQ(running.wait(patience(kRun)), 7) << running.errors();
    const auto result = running.result();
    EXPECT_EQ(result["exit"], 7);
    EXPECT_EQ(result["steps"], 25);
    EXPECT_LE(result["privacy"]["epsilon"].get<double>(), budget);
    EXPECT_TRUE(fs::exists(job.run() / "model.safetensors"));
    EXPECT_THAT(running.errors(), HasSubstr("the privacy budget is spent"));
  }
  Running running(job, job.resume({}));
  EXPECT_EQ(running.wait(patience(kRun)), 7) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("the privacy budget is spent"));
  EXPECT_EQ(job.ledger().releases(0), 25U);
}

// For fewer steps in all, less noise would be found.
TEST(PrivateJobs, AJobThatGoesOnKeepsTheNoiseThatWasFoundForIt) {
  PrivateJob job("central");
  job.tables["privacy"] = "kind = \"gaussian\"\nepsilon = 4\ndelta = 1e-4\n";
  double noise = 0;
  std::uint64_t from = 0;
  {
    Running running(job);
    ASSERT_TRUE(running.wait_for_training()) << running.errors();
    running.signal(SIGTERM);
    ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
    noise = running.result()["privacy"]["noise"];
    from = running.result()["steps"];
  }
  Running running(job, job.resume({"run.steps=" + std::to_string(from + 5)}));
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(running.result()["privacy"]["noise"], noise);
}

// 900 examples in 15 steps an epoch.
struct CorrelatedJob : PrivateJob {
  CorrelatedJob() : PrivateJob("central") {
    std::string& data = tables["data"];
    data.replace(data.find("poisson"), 7, "cyclic");
    tables["privacy"] =
        "kind = \"correlated\"\nbands = 4\nnoise = 20\ndelta = 1e-4\n"
        "adjacency = \"replace-one\"\n";
  }
};

// Of steps that were released so often.
double correlated_cost(const std::vector<std::uint32_t>& times) {
  const double squared = privacy::PrefixFactor(4).squared_sensitivity(15, times);
  const privacy::GaussianSteps all{1, 20 / std::sqrt(squared), 1};
  return privacy::epsilon_of({&all, 1}, 1e-4, privacy::Adjacency::replace_one,
                             privacy::Method::tight)
      .value;
}

TEST(PrivateJobs, StepsThatShareNoiseAreOneRelease) {
  CorrelatedJob job;
  job.overrides = {"run.steps=40"};
  Running running(job);
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  for (std::uint64_t step = 0; step < 40; ++step) EXPECT_EQ(job.ledger().releases(0, step), 1U);
  const auto result = running.result();
  const auto statement = result["privacy"];
  const double expected = correlated_cost(std::vector<std::uint32_t>(40, 1));
  EXPECT_NEAR(statement["epsilon"].get<double>(), expected, 1e-7);
  EXPECT_EQ(statement["mechanism"], "correlated");
  EXPECT_EQ(statement["sampling"], "cyclic");
  EXPECT_EQ(statement["bands"], 4);
  EXPECT_EQ(statement["steps_between"], 15);
  EXPECT_EQ(result["bit_exact"], true);
  checkpoint::PosixDisk disk;
  const auto reading = privacy::read_ledger(disk, job.run() / "ledger.jsonl");
  EXPECT_NEAR(privacy::spent(reading.ledger, privacy::Method::tight).epsilon.value, expected, 1e-7);
  const auto asked = [](const std::vector<std::string>& words) {
    const Answer answer = ask_program(words, patience(kRun));
    EXPECT_EQ(answer.code, 0) << answer.errors;
    return nlohmann::json::parse(answer.output);
  };
  const auto spent = asked({"privacy", "--from", job.run().string(), "--json"});
  const auto planned = asked({"privacy", "--bands", "4", "--steps-between", "15", "--noise", "20",
                              "--steps", "40", "--delta", "1e-4", "--json"});
  for (const char* figure : {"epsilon", "delta", "noise", "steps", "adjacency", "unit", "mechanism",
                             "bands", "steps_between", "sensitivity", "accountant"}) {
    EXPECT_EQ(planned[figure], spent[figure]) << figure;
  }
}

// They have noise of their own, whatever they release, and are charged for it.
TEST(PrivateJobs, AfterACrashStepsThatShareNoiseAreChargedAgain) {
  CorrelatedJob job;
  crash(job);
  const std::uint64_t before = job.ledger().releases(0);
  const std::uint64_t from = checkpoints_of(job).front();
  ASSERT_LT(from, before);
  const std::uint64_t steps = before + 20;
  Running running(job, job.resume({"run.steps=" + std::to_string(steps)}));
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  std::vector<std::uint32_t> times(steps, 1);
  for (std::uint64_t step = from; step < before; ++step) ++times[step];
  const auto result = running.result();
  EXPECT_EQ(result["privacy"]["steps"], steps);
  EXPECT_EQ(result["privacy"]["releases"], steps + before - from);
  EXPECT_NEAR(result["privacy"]["epsilon"].get<double>(), correlated_cost(times), 1e-7);
  EXPECT_EQ(result["bit_exact"], false) << "without the crash it would have had other noise";
}

// Stopped and gone on with no step is taken twice. With other noise, or without the secrets that
// noise to come would need, it does not go on.
TEST(PrivateJobs, AJobWhoseStepsShareNoiseGoesOnOnlyAsItWas) {
  CorrelatedJob job;
  std::uint64_t from = 0;
  {
    Running running(job);
    ASSERT_TRUE(running.wait_for_training()) << running.errors();
    running.signal(SIGTERM);
    ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
    from = running.result()["steps"];
  }
  const std::string steps = "run.steps=" + std::to_string(from + 5);
  {
    Running running(job, job.resume({steps, "privacy.noise=30"}));
    EXPECT_EQ(running.wait(patience(kRun)), 2) << running.errors();
    EXPECT_THAT(running.errors(), HasSubstr("privacy.noise: found 30, expected 20 as in"));
  }
  {
    Running running(job, job.resume({steps}));
    ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
    EXPECT_EQ(running.result()["privacy"]["releases"], from + 5);
  }
  fs::remove_all(job.secrets());
  Running running(job, job.resume({"run.steps=" + std::to_string(from + 10)}));
  EXPECT_EQ(running.wait(patience(kRun)), 2) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("the secrets of this job are lost"));
  EXPECT_EQ(job.ledger().releases(0), from + 5);
}

TEST(PrivateJobs, SecretsThatOthersMayReadAreRefused) {
  PrivateJob job("central");
  fs::create_directories(job.secrets());
  fs::permissions(job.secrets(), fs::perms(0755));
  Running running(job);
  EXPECT_EQ(running.wait(patience(kRun)), 2) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("found permissions 0755, expected 0700"));
}

}  // namespace
}  // namespace sheaf::harness
