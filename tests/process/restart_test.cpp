// A job that loses a server goes on by itself from a checkpoint, and comes to the bits of a job
// that never lost one. The reference is that job.
#include <gmock/gmock.h>

#include <csignal>
#include <fstream>
#include <set>

#include "tests/harness/checkpoint_job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// It has no end: a test asks it to.
struct EnduringJob : SmallJob {
  explicit EnduringJob(unsigned restarts) {
    tables["recovery"] = "restarts = " + std::to_string(restarts) + "\nsnapshot = \"none\"\n";
  }
};

bool trains_again(Running& running, unsigned incarnation) {
  const auto has_come = [&](std::string_view role) {
    const nlohmann::json row = running.rank(role, 0);
    return row.is_object() && row["incarnation"] == incarnation && row["state"] == "running";
  };
  return running.wait_until([&] { return has_come("server") && has_come("worker"); }, kRun);
}

bool saves_newer(const Job& job, Running& running, std::uint64_t than) {
  return running.wait_until(
      [&] {
        const auto steps = checkpoints_of(job);
        return !steps.empty() && steps.front() > than;
      },
      kRun);
}

// It has something to go on from: its beginning.
bool has_begun(const Job& job, Running& running) {
  return has_saved(job, running) && running.wait_for_training();
}

// Ends it, and expects what a job of as many steps comes to.
void expect_the_same_bits(Running& running, unsigned restarts) {
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  EXPECT_THAT(wait_for_descendants(patience(kAllGone)), IsEmpty());
  const nlohmann::json result = running.result();
  EXPECT_EQ(result["faults"]["restarts"], restarts);
  EXPECT_GT(result["faults"]["recovery_seconds"], 0);
  EXPECT_EQ(result["model_sha256"], reference_model(result["steps"]));
}

struct Loss {
  const char* name;
  const char* role;
  unsigned id;
  int signal;
  const char* says;
};

class Restarts : public testing::TestWithParam<Loss> {};

TEST_P(Restarts, GoOnToTheSameBits) {
  const EnduringJob job(3);
  Running running(job);
  ASSERT_TRUE(saves_newer(job, running, 0)) << running.errors();
  running.signal(GetParam().role, GetParam().id, GetParam().signal);
  ASSERT_TRUE(trains_again(running, 1)) << running.errors();
  ASSERT_TRUE(saves_newer(job, running, checkpoints_of(job).front())) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr(GetParam().says));
  EXPECT_THAT(running.errors(), HasSubstr("goes on from step "));
  expect_the_same_bits(running, 1);
  // What was done twice stands in the metrics once.
  std::set<std::pair<std::uint64_t, std::string>> seen;
  std::ifstream rows(job.run() / "metrics.jsonl");
  for (std::string line; std::getline(rows, line);) {
    const auto row = nlohmann::json::parse(line);
    EXPECT_TRUE(seen.emplace(row["step"], row["split"]).second) << line;
  }
  EXPECT_FALSE(seen.empty());
}

INSTANTIATE_TEST_SUITE_P(Ranks, Restarts,
                         testing::Values(Loss{"Server", "server", 0, SIGKILL, "server 0 on "},
                                         Loss{"Stopped", "server", 1, SIGSTOP, "taken for dead"}),
                         [](const auto& row) { return std::string(row.param.name); });

// The ranks of a later start read what the job was started with.
TEST(RestartsTest, AJobFileThatIsEditedMeanwhileChangesNothing) {
  EnduringJob job(3);
  Running running(job);
  ASSERT_TRUE(saves_newer(job, running, 0)) << running.errors();
  job.tables["optimizer"] = "kind = \"sgd\"\nrate = 5\n";
  ASSERT_NO_THROW(job.write_job());
  running.signal("server", 0, SIGKILL);
  ASSERT_TRUE(trains_again(running, 1)) << running.errors();
  ASSERT_TRUE(saves_newer(job, running, checkpoints_of(job).front())) << running.errors();
  expect_the_same_bits(running, 1);
}

TEST(RestartsTest, OneLossAfterAnother) {
  const EnduringJob job(3);
  Running running(job);
  constexpr unsigned kLosses = 5;
  std::uint64_t newest = 0;
  for (unsigned n = 0; n < kLosses; ++n) {
    ASSERT_TRUE(saves_newer(job, running, newest)) << running.errors();
    newest = checkpoints_of(job).front();
    running.signal("server", n % 2, SIGKILL);
    ASSERT_TRUE(trains_again(running, n + 1)) << running.errors();
  }
  ASSERT_TRUE(saves_newer(job, running, newest)) << running.errors();
  expect_the_same_bits(running, kLosses);
}

TEST(RestartsTest, AJobThatMakesNoProgressEnds) {
  EnduringJob job(2);
  job.tables["checkpoint"] = "every = \"1h\"\n";
  Running running(job);
  for (unsigned n = 0; n <= 2; ++n) {
    ASSERT_TRUE(trains_again(running, n)) << running.errors();
    ASSERT_TRUE(has_begun(job, running)) << running.errors();
    running.signal("server", 0, SIGKILL);
  }
  ASSERT_EQ(running.wait(patience(kRun)), 4) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("goes on from step 0 in 1 s"));
  EXPECT_THAT(running.errors(),
              HasSubstr("started again 2 times in a row without a newer checkpoint than that of "
                        "step 0: giving up (recovery.restarts)"));
  EXPECT_EQ(running.result()["faults"]["restarts"], 2);
  EXPECT_EQ(running.result()["error"]["rank"], 0) << running.errors();
}

TEST(RestartsTest, WhoIsAskedToEndBetweenTwoStartsCanBeResumed) {
  EnduringJob job(2);
  job.tables["checkpoint"] = "every = \"1h\"\n";
  Running running(job);
  for (unsigned n = 0; n <= 1; ++n) {
    ASSERT_TRUE(trains_again(running, n)) << running.errors();
    ASSERT_TRUE(has_begun(job, running)) << running.errors();
    running.signal("server", 0, SIGKILL);
  }
  ASSERT_TRUE(running.wait_for_message("goes on from step 0 in 1 s", kRun));
  running.signal(SIGTERM);
  EXPECT_EQ(running.wait(patience(kRun)), 75) << running.errors();
}

TEST(RestartsTest, WithoutAWholeCheckpointTheJobEnds) {
  EnduringJob job(3);
  job.tables["checkpoint"] = "every = \"1h\"\n";
  Running running(job);
  ASSERT_TRUE(has_saved(job, running)) << running.errors();
  for (const auto& entry :
       std::filesystem::directory_iterator(job.run() / "checkpoints" / "step-000000000000")) {
    std::filesystem::resize_file(entry.path(), 10);
  }
  running.signal("server", 1, SIGKILL);
  EXPECT_EQ(running.wait(patience(kRun)), 4) << running.errors();
  EXPECT_THAT(running.errors(), HasSubstr("cannot go on: "));
  EXPECT_THAT(running.errors(), HasSubstr("every checkpoint is damaged"));
  EXPECT_EQ(running.result()["faults"]["restarts"], 0);
}

}  // namespace
}  // namespace sheaf::harness
