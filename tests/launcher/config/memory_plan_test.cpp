// What a snapshot adds to the plan, counted by hand: floats that a server keeps of each parameter.
#include "launcher/config/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launcher/config/job_text.h"

namespace sheaf::launcher {
namespace {

constexpr std::uint64_t kParameters = 1000;

RunConfig planned(std::vector<std::string> overrides) {
  RunConfig config = RunConfig::from_text(job_with(), "job.toml", overrides);
  EXPECT_THAT(config.check().faults, testing::IsEmpty());
  return config;
}

std::uint64_t floats_of_a_snapshot(const std::vector<std::string>& overrides) {
  const RunConfig config = planned(overrides);
  const std::uint64_t bytes = plan_parameter_memory(config, kParameters, true).server -
                              plan_parameter_memory(config, kParameters, false).server;
  return bytes / (sizeof(float) * kParameters);
}

TEST(MemoryPlanTest, ASnapshotHasTheStateAgainAndVersionsWhereWorkersMapNone) {
  EXPECT_EQ(floats_of_a_snapshot({"optimizer.kind=adam"}), 2U);
  EXPECT_EQ(floats_of_a_snapshot({"optimizer.kind=sgd"}), 0U);
  EXPECT_EQ(floats_of_a_snapshot({"optimizer.kind=adam", "network.transport=tcp"}), 4U);
  EXPECT_EQ(floats_of_a_snapshot({"optimizer.kind=adam", "consistency.kind=asp"}), 4U);
}

// Which is not missed where there is too little.
TEST(MemoryPlanTest, WhatIsKeptOnlyIfThereIsRoomIsNotInThePlan) {
  const auto server = [](const char* snapshot) {
    return plan_memory(planned({"optimizer.kind=adam", snapshot}), kParameters).server;
  };
  EXPECT_EQ(server("recovery.snapshot=auto"), server("recovery.snapshot=none"));
  EXPECT_GT(server("recovery.snapshot=shm"), server("recovery.snapshot=none"));
}

TEST(MemoryPlanTest, ExamplesOfWorkersAreInThePlan) {
  const RunConfig config = planned({"recovery.snapshot=none"});
  const std::uint64_t row = 2 * sizeof(float);  // x and y
  EXPECT_GE(plan_memory(config, kParameters).worker,
            plan_parameter_memory(config, kParameters, false).worker + row * 1000 / 2);
}

}  // namespace
}  // namespace sheaf::launcher
