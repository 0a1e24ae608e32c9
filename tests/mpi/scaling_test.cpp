// A small sweep of real jobs: what is written agrees with itself and with what the jobs wrote.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

Command sweep(const Job& job, std::vector<std::string> more = {}) {
  std::vector<std::string> words = {"bench", "scaling", job.write_job(),
                                    "run.dir=" + job.run().string()};
  words.insert(words.end(), more.begin(), more.end());
  return job.command(words);
}

TEST(Scaling, OfTwoPointsAddsUp) {
  Job job;
  job.mpirun = true;
  job.tables["scaling"] = "workers = [1, 2]\nservers = [0]\nkind = \"weak\"\nsteps = 40\n";
  std::filesystem::create_directories(job.run());
  Running running(job, sweep(job, {"--json"}));
  ASSERT_EQ(running.wait(patience(Limit(60'000))), 0) << running.errors();
  EXPECT_THAT(wait_for_descendants(kAllGone), IsEmpty());
  const auto json = nlohmann::json::parse(running.output(), nullptr, false);
  ASSERT_TRUE(json.is_object()) << running.output();
  EXPECT_EQ(nlohmann::json::parse(running.file("scaling.json")), json);
  ASSERT_EQ(json["points"].size(), 2U);
  const double base = json["points"][0]["examples_per_s"];
  for (unsigned i = 0; i < 2; ++i) {
    const auto& point = json["points"][i];
    EXPECT_EQ(point["workers"], i + 1);
    EXPECT_EQ(point["servers"], i + 1);
    EXPECT_EQ(point["batch"], 64 * (i + 1));
    const double rate = point["examples_per_s"];
    EXPECT_DOUBLE_EQ(point["speed_up"], rate / base);
    EXPECT_DOUBLE_EQ(point["efficiency"], rate / base / (i + 1));
    EXPECT_EQ(point["share"], nullptr) << "one host has no links";
    const auto result = nlohmann::json::parse(
        contents_of(std::filesystem::path(point["run"].get<std::string>()) / "result.json"));
    EXPECT_EQ(result["steps"], 40);
    EXPECT_EQ(result["workers"], i + 1);
    EXPECT_EQ(result["throughput"]["examples_per_s"], rate);
    EXPECT_DOUBLE_EQ(point["exchange_ms"], 1e3 * result["traffic"]["seconds"].get<double>() / 40);
    EXPECT_GT(point["exchange_ms"], 0);
    EXPECT_LT(point["exchange_ms"], 1.1 * point["step_ms"].get<double>());
    EXPECT_DOUBLE_EQ(point["step_ms"], 1e3 * result["seconds"].get<double>() / 40);
  }
  const std::string page = running.file("scaling.html");
  EXPECT_THAT(page, HasSubstr("</html>"));
  EXPECT_THAT(page, Not(HasSubstr("//")));
}

TEST(Scaling, OfAJobThatNamesNoSizesIsRefused) {
  Job job;
  job.mpirun = true;
  Running running(job, sweep(job));
  EXPECT_EQ(running.wait(patience(Limit(5000))), 2);
  EXPECT_THAT(running.errors(), HasSubstr("scaling.workers: found none"));
}

TEST(Scaling, SaysBeforeTheFirstJobWhatMakesALaterOneImpossible) {
  Job job;
  job.mpirun = true;
  job.tables["scaling"] = "workers = [1, 65]\n";  // the batch has 64 examples
  Running running(job, sweep(job));
  EXPECT_EQ(running.wait(patience(Limit(5000))), 2);
  EXPECT_THAT(running.errors(), HasSubstr("data.batch: found 64, expected an integer of at least"));
  EXPECT_FALSE(std::filesystem::exists(job.run() / "strong-1w-1s"));
}

TEST(Scaling, EndsWithTheCodeOfAJobThatFails) {
  Job job;
  job.mpirun = true;
  job.tables["launch"] = "mpirun_args = [\"--no-such-flag\"]\n";
  job.tables["scaling"] = "workers = [1]\nsteps = 10\n";
  Running running(job, sweep(job));
  EXPECT_EQ(running.wait(patience(Limit(20'000))), 4);
  EXPECT_THAT(running.errors(), HasSubstr("strong-1w-1s: exit code 4; see "));
}

TEST(Scaling, InterruptedEndsItsJobFirst) {
  Job job;
  job.mpirun = true;
  job.tables["scaling"] = "workers = [1]\nsteps = 100000000\n";
  std::filesystem::create_directories(job.run());
  Running running(job, sweep(job));
  constexpr std::string_view begun = "epoch";  // of a job that trains
  ASSERT_TRUE(running.wait_until(
      [&] { return contents_of(job.run() / "strong-1w-1s.err").find(begun) != std::string::npos; },
      Limit(30'000)))
      << running.errors();
  running.signal(SIGINT);
  EXPECT_EQ(running.wait(patience(Limit(10'000))), 130) << running.errors();
  EXPECT_THAT(wait_for_descendants(kAllGone), IsEmpty());
}

}  // namespace
}  // namespace sheaf::harness
