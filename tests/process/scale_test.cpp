// A running job says how it stands, and refuses what cannot be.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/checkpoint_job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;

TEST(Scale, WhatCannotBeIsRefused) {
  const SmallJob job;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  const Said many = say(job, {"scale", "--workers", "5"});
  EXPECT_EQ(many.code, 2);
  EXPECT_THAT(many.errors, HasSubstr("found 5 workers, expected 1 to 4 (run.partitions)"));
  ASSERT_TRUE(has_saved(job, running)) << running.errors();
  const Said same = say(job, {"scale", "--workers", "2"});
  EXPECT_EQ(same.code, 2);
  EXPECT_THAT(same.errors, HasSubstr("the job has 2 workers"));
  EXPECT_EQ(say(job, {"scale"}).code, 2);
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const Said ended = say(job, {"scale", "--workers", "3"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.errors, HasSubstr("the job has ended"));
}

TEST(Status, SaysWhatRunsAndWhoWaitsForWhom) {
  Job job;
  job.tables["timeouts"] = "beat = \"200ms\"\nsuspect = \"1s\"\ndead = \"30s\"\nstart = \"20s\"\n";
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  const Said said = say(job, {"status", "--json"});
  ASSERT_EQ(said.code, 0) << said.errors;
  const auto status = nlohmann::json::parse(said.output);
  EXPECT_EQ(status["running"], true);
  EXPECT_GT(status["step"], 0);
  ASSERT_EQ(status["processes"].size(), 4);
  for (std::size_t i = 0; i < 4; ++i) {
    const auto& row = status["processes"][i];
    EXPECT_EQ(row["state"], "running");
    EXPECT_EQ(row["pid"], running.rank(row["role"].get<std::string>(), row["id"])["pid"]);
  }
  running.signal("worker", 1, SIGSTOP);
  ASSERT_TRUE(running.wait_for_message("waits for partitions 1 (worker 1)", kRun))
      << running.errors();
  const Said stalled = say(job, {"status"});
  EXPECT_EQ(stalled.code, 0) << stalled.errors;
  EXPECT_THAT(stalled.output, HasSubstr("suspected"));
  EXPECT_THAT(stalled.output, HasSubstr("waits for partitions 1 (worker 1), "));
  running.signal("worker", 1, SIGCONT);
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(patience(kRun)), 75) << running.errors();
  const Said ended = say(job, {"status"});
  EXPECT_EQ(ended.code, 0) << ended.errors;
  EXPECT_THAT(ended.output, HasSubstr("ended with exit code 75"));
}

TEST(Status, WithoutASupervisorTheJobIsLost) {
  const Job job;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  running.signal(SIGKILL);
  ASSERT_EQ(running.wait(patience(kRun)), 128 + SIGKILL);
  const Said said = say(job, {"status"});
  EXPECT_EQ(said.code, 4);
  EXPECT_THAT(said.errors, HasSubstr("sheaf train --resume"));
}

}  // namespace
}  // namespace sheaf::harness
