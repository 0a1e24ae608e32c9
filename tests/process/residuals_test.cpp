// Jobs that keep what their pushes leave out come to the bits of a job that nobody interrupts,
// whatever they lose, where bits are promised; elsewhere what is lost is said. The reference is
// that job.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/checkpoint_job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kBsp = "kind = \"bsp\"\n";
constexpr const char* kLocal =
    "kind = \"local\"\nsteps = 3\ninner = { kind = \"sgd\", rate = 0.01 }\n";
constexpr const char* kAsp = "kind = \"asp\"\n";

// A push keeps what it leaves out, or in bsp that and a velocity, or what it has told, of which
// servers have the sum, and a mean.
constexpr const char* kMomentum = "kind = \"bsp\"  # with momentum\n";
// A step has two rounds.
constexpr const char* kFactors = "kind = \"bsp\"  # with factors\n";
constexpr const char* kEstimates = "kind = \"bsp\"  # with estimates\n";

struct ResidualsJob : SmallJob {
  explicit ResidualsJob(const std::string& consistency, const std::string& transport = "auto") {
    tables["consistency"] = consistency;
    tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\n";
    tables["network"] += "transport = \"" + transport + "\"\n";
    tables["compression"] =
        "push = { kind = \"topk\", ratio = 0.05, values = 8, feedback = \"ef\" }\n";
    if (consistency == kMomentum) {
      tables["optimizer"] = "kind = \"sgd\"\nrate = 1e-3\n";
      tables["compression"] =
          "push = { kind = \"dgc\", ratio = 0.05, clip_norm = 1.0, warmup_steps = 100 }\n";
    }
    if (consistency == kFactors) {
      tables["compression"] = "push = { kind = \"powersgd\", rank = 2 }\n";
    }
    if (consistency == kEstimates) {
      tables["compression"] =
          "push = { kind = \"topk\", ratio = 0.05, values = 8, feedback = \"ef21\" }\n";
    }
    tables["recovery"] = "restarts = 3\nsnapshot = \"none\"\n";
  }
};

std::string outcome_without_losses(const char* consistency, std::uint64_t steps) {
  ResidualsJob job(consistency);
  job.overrides = {"run.steps=" + std::to_string(steps)};
  Running running(job);
  EXPECT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  return outcome_of(running.result());
}

// The rank has such an incarnation, and the job has got further since.
bool trains_again(Running& running, const char* role, unsigned id, unsigned incarnation) {
  const bool there = running.wait_until(
      [&] {
        const nlohmann::json row = running.rank(role, id);
        return row.is_object() && row["incarnation"] == incarnation && row["state"] == "running";
      },
      kRun);
  const std::uint64_t before = newest_step(running);
  return there && running.wait_until([&] { return newest_step(running) > before + 20; }, kRun);
}

// Saves its step and ends; returns its result.
nlohmann::json end_early(Running& running) {
  running.signal(SIGTERM);
  EXPECT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  EXPECT_THAT(wait_for_descendants(patience(kAllGone)), IsEmpty());  // no keeper, either
  return running.result();
}

// It goes on from what it has saved, on one server and four workers, for some steps more: the
// outcome, and that of a job that lost nothing.
void expect_the_same_bits(ResidualsJob& job, const char* consistency, std::uint64_t saved) {
  const std::uint64_t steps = saved + 20;
  job.set_size(1, 4);
  Running resumed(
      job, job.resume({"run.steps=" + std::to_string(steps), "run.servers=1", "run.workers=4"}));
  ASSERT_EQ(resumed.wait(patience(kRun)), 0) << resumed.errors();
  EXPECT_EQ(resumed.result()["bit_exact"], true);
  EXPECT_EQ(outcome_of(resumed.result()), outcome_without_losses(consistency, steps));
}

class Residuals : public testing::TestWithParam<const char*> {};

TEST_P(Residuals, GoOnFromACheckpointWithTheSameBitsOnOtherWorkersAndServers) {
  ResidualsJob job(GetParam());
  nlohmann::json result;
  {
    Running running(job);
    ASSERT_TRUE(saves_another(job, running)) << running.errors();
    running.signal("server", 1, SIGKILL);  // all start again from a checkpoint
    ASSERT_TRUE(trains_again(running, "server", 1, 1)) << running.errors();
    ASSERT_TRUE(saves_another(job, running)) << running.errors();
    result = end_early(running);
    EXPECT_EQ(result["bit_exact"], true) << running.errors();
    EXPECT_EQ(result["faults"]["restarts"], 1);
  }
  const Said verified = say(job, {"verify"});
  EXPECT_EQ(verified.code, 0) << verified.output;
  EXPECT_THAT(
      contents_of(job.run() / "checkpoints" /
                  ("step-" +
                   std::string(12 - std::to_string(checkpoints_of(job).front()).size(), '0') +
                   std::to_string(checkpoints_of(job).front())) /
                  "MANIFEST"),
      HasSubstr("worker-1.safetensors"));
  expect_the_same_bits(job, GetParam(), result["steps"]);
}

std::string name_of_job(const char* consistency) {
  if (consistency == kMomentum) return "bsp_momentum";
  if (consistency == kFactors) return "bsp_factors";
  if (consistency == kEstimates) return "bsp_estimates";
  return consistency == kLocal ? "local" : "bsp";
}

INSTANTIATE_TEST_SUITE_P(Jobs, Residuals,
                         testing::Values(kBsp, kLocal, kMomentum, kFactors, kEstimates),
                         [](const auto& gate) { return name_of_job(gate.param); });

// ---- workers that are lost ----------------------------------------------------------------------

struct ResidualLoss {
  const char* name;
  const char* consistency;
  const char* transport;
  int signal;
};

class LostResiduals : public testing::TestWithParam<ResidualLoss> {};

// Its successor goes on with what it has left in memory: nobody goes back.
TEST_P(LostResiduals, AreLeftToTheSuccessor) {
  ResidualsJob job(GetParam().consistency, GetParam().transport);
  nlohmann::json result;
  {
    Running running(job);
    ASSERT_TRUE(running.wait_for_training()) << running.errors();
    for (const unsigned worker : {1U, 0U}) {
      running.signal("worker", worker, GetParam().signal);
      ASSERT_TRUE(trains_again(running, "worker", worker, worker == 1 ? 1 : 2)) << running.errors();
    }
    result = end_early(running);
    EXPECT_EQ(result["bit_exact"], true) << running.errors();
    EXPECT_EQ(result["faults"]["replacements"], 2) << running.errors();
    EXPECT_EQ(result["faults"]["restarts"], 0) << running.errors();
    EXPECT_THAT(result["faults"]["lost_residuals"], IsEmpty());
  }
  expect_the_same_bits(job, GetParam().consistency, result["steps"]);
}

INSTANTIATE_TEST_SUITE_P(Jobs, LostResiduals,
                         testing::Values(ResidualLoss{"bsp_shared", kBsp, "auto", SIGKILL},
                                         ResidualLoss{"bsp_tcp", kBsp, "tcp", SIGKILL},
                                         ResidualLoss{"bsp_stopped", kBsp, "tcp", SIGSTOP},
                                         ResidualLoss{"bsp_momentum", kMomentum, "tcp", SIGKILL},
                                         ResidualLoss{"bsp_factors", kFactors, "auto", SIGKILL},
                                         ResidualLoss{"bsp_estimates", kEstimates, "auto", SIGKILL},
                                         ResidualLoss{"local_shared", kLocal, "auto", SIGKILL}),
                         [](const auto& loss) { return std::string(loss.param.name); });

// The right factors of the step before are on the servers: in what outlives one, too.
class LostServersOfFactors : public testing::TestWithParam<const char*> {};

TEST_P(LostServersOfFactors, GoOnToTheSameBits) {
  ResidualsJob job(kFactors);
  job.tables["recovery"] = std::string("restarts = 3\n") + GetParam() + "\n";
  nlohmann::json result;
  {
    Running running(job);
    ASSERT_TRUE(running.wait_for_training()) << running.errors();
    for (const unsigned server : {0U, 1U}) {
      running.signal("server", server, SIGKILL);
      ASSERT_TRUE(trains_again(running, "server", server, server + 1)) << running.errors();
    }
    result = end_early(running);
    EXPECT_EQ(result["bit_exact"], true) << running.errors();
    EXPECT_EQ(result["faults"]["replacements"], 2) << running.errors();
    EXPECT_EQ(result["faults"]["restarts"], 0) << running.errors();
  }
  expect_the_same_bits(job, kFactors, result["steps"]);
}

INSTANTIATE_TEST_SUITE_P(Jobs, LostServersOfFactors,
                         testing::Values("snapshot = \"shm\"", "replicas = 2\nsnapshot = \"none\""),
                         [](const auto& recovery) {
                           return std::string(recovery.index == 0 ? "snapshot" : "replicas");
                         });

// With the keeper what it has left is gone, too. The order matters: a successor would find it.
void lose_worker_and_keeper(Running& running, unsigned worker) {
  signal_descendant(descendant_called("sheaf-keeper"), SIGKILL);
  running.signal("worker", worker, SIGKILL);
}

class LostResidualsOfAJob : public testing::TestWithParam<const char*> {};

TEST_P(LostResidualsOfAJob, HaveAllGoBackWhereBitsArePromised) {
  ResidualsJob job(GetParam(), "tcp");
  nlohmann::json result;
  {
    Running running(job);
    ASSERT_TRUE(saves_another(job, running)) << running.errors();
    lose_worker_and_keeper(running, 1);
    ASSERT_TRUE(running.wait_for_message("what its pushes had left out is lost", kRun))
        << running.errors();
    ASSERT_TRUE(trains_again(running, "worker", 1, 2)) << running.errors();
    result = end_early(running);
    EXPECT_EQ(result["bit_exact"], true) << running.errors();
    EXPECT_EQ(result["faults"]["restarts"], 1);
    EXPECT_THAT(result["faults"]["lost_residuals"], IsEmpty());
  }
  expect_the_same_bits(job, GetParam(), result["steps"]);
}

INSTANTIATE_TEST_SUITE_P(Jobs, LostResidualsOfAJob, testing::Values(kBsp, kEstimates),
                         [](const auto& gate) { return name_of_job(gate.param); });

TEST(LostResidualsOfAHost, AreSaidWhereNoBitsArePromised) {
  ResidualsJob job(kAsp, "tcp");
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  lose_worker_and_keeper(running, 1);
  ASSERT_TRUE(trains_again(running, "worker", 1, 1)) << running.errors();
  const nlohmann::json result = end_early(running);
  EXPECT_THAT(running.errors(),
              HasSubstr("what the pushes of partitions 2 to 3 had left out before step"));
  EXPECT_EQ(result["faults"]["restarts"], 0);
  EXPECT_EQ(result["faults"]["lost_residuals"], nlohmann::json({2, 3}));
  EXPECT_THAT(running.output(), HasSubstr("lost those of partitions 2, 3"));
}

}  // namespace
}  // namespace sheaf::harness
