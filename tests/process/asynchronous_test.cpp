// Jobs whose consistency model makes a step of each push: what they lose and save, counted. The
// closed form is that of tests/harness/counting_job.h: after t steps of P partitions every weight
// is P t times its input.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/checkpoint_job.h"
#include "tests/harness/counting_job.h"

namespace sheaf::harness {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct Model {
  const char* name;
  const char* text;
};

class Asynchronous : public testing::TestWithParam<Model> {};

bool runs_again(Running& running, unsigned incarnation) {
  return running.wait_until(
      [&] {
        for (const std::string_view role : {"server", "worker"}) {
          for (const unsigned id : {0U, 1U}) {
            const nlohmann::json row = running.rank(role, id);
            if (!row.is_object() || row["incarnation"] != incarnation) return false;
            if (row["state"] != "running") return false;
          }
        }
        return true;
      },
      kRun);
}

void expect_counted(const Job& job, const nlohmann::json& result) {
  ASSERT_TRUE(result.is_object());
  EXPECT_FALSE(result["bit_exact"]);
  const std::uint64_t steps = result["steps"];
  EXPECT_GT(steps, 0U);
  EXPECT_EQ(count_of(job), CountingJob::kPartitions * steps);
}

// Whole after two killed servers and an end that somebody asks for; then on another number of
// servers and workers. (Of workers: replacement_test.cpp.)
TEST_P(Asynchronous, NoStepIsLostOrCountedTwice) {
  CountingJob job(std::string(GetParam().text) + "trace = true\n");
  job.tables["recovery"] = "restarts = 3\nsnapshot = \"none\"\n";
  std::uint64_t steps = 0;
  {
    Running running(job);
    ASSERT_TRUE(saves_another(job, running)) << running.errors();
    running.signal("server", 0, SIGKILL);
    ASSERT_TRUE(runs_again(running, 1)) << running.errors();
    ASSERT_TRUE(saves_another(job, running)) << running.errors();
    running.signal("server", 1, SIGKILL);
    ASSERT_TRUE(runs_again(running, 2)) << running.errors();
    ASSERT_TRUE(saves_another(job, running)) << running.errors();
    running.signal(SIGTERM);
    ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
    EXPECT_EQ(running.result()["faults"]["restarts"], 2);
    expect_counted(job, running.result());
    steps = running.result()["steps"];
  }
  steps += 30;
  job.set_size(1, 3);
  Running running(
      job, job.resume({"run.steps=" + std::to_string(steps), "run.servers=1", "run.workers=3"}));
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(running.result()["steps"], steps);
  expect_counted(job, running.result());

  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output;
  EXPECT_THAT(verified.output,
              ContainsRegex("trace server-1-lane-0-step-0-0.trace: ok, [1-9][0-9]* pu"));
  EXPECT_THAT(verified.output, Not(HasSubstr("broken")));
}

// A worker stops for less than its lease: with a bound the others wait for it, which is said;
// without one they go on. The servers' histories say how far.
TEST_P(Asynchronous, AStoppedWorkerHoldsUpWhomTheBoundSays) {
  const bool bounded = std::string_view(GetParam().name) == "Ssp";
  CountingJob job(std::string(GetParam().text) + "trace = true\n");
  job.tables["timeouts"] = "beat = \"100ms\"\nsuspect = \"500ms\"\ndead = \"60s\"\n";
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal("worker", 1, SIGSTOP);
  // It may have pushed for one of its two partitions.
  const char* says = bounded ? "waits for partitions" : "worker 1";
  EXPECT_TRUE(running.wait_for_message(says, patience(kRun))) << running.errors();
  running.signal("worker", 1, SIGCONT);
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  expect_counted(job, running.result());

  const Said verified = say(job, {"verify", "--json"});
  ASSERT_EQ(verified.code, 0) << verified.output;
  const auto traces = nlohmann::json::parse(verified.output)["traces"];
  EXPECT_EQ(traces.size(), 4U);  // two servers of two lanes
  for (const auto& trace : traces) {
    const std::uint64_t ahead = trace["most_ahead"];
    EXPECT_TRUE(bounded ? ahead == 2 : ahead > 2) << trace;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Asynchronous,
                         testing::Values(Model{"Ssp", "kind = \"ssp\"\nstaleness = 2\n"},
                                         Model{"Asp", "kind = \"asp\"\n"}),
                         [](const auto& model) { return std::string(model.param.name); });

// In bsp a step is one of all partitions.
TEST(CountingJobTest, CountsTheStepsOfBspToo) {
  CountingJob job("kind = \"bsp\"\n");
  job.overrides = {"run.steps=40"};
  Running running(job);
  ASSERT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  EXPECT_EQ(count_of(job), 40U);
}

}  // namespace
}  // namespace sheaf::harness
