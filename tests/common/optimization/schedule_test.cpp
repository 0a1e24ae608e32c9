#include "common/optimization/schedule.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/config/section.h"

namespace sheaf::optimization {
namespace {

Schedule read(const std::string& options) {
  const auto job = config::Document::from_text("[optimizer]\n" + options, "job.toml");
  const Schedule schedule(job->root().table("optimizer"));
  job->throw_if_faulty();
  return schedule;
}

TEST(Schedule, WithoutWarmUpTheRateIsConstant) {
  const Schedule schedule = read("rate = 0.3");
  for (const Step step : {0u, 1u, 1000u}) EXPECT_EQ(schedule.rate(step), 0.3);
}

// rate(t) = rate * min(1, (t + 1) / 4)
TEST(Schedule, WarmUpIsLinearAndEndsAtTheRate) {
  const Schedule schedule = read("rate = 2.0\nwarmup_steps = 4");
  EXPECT_EQ(schedule.rate(0), 0.5);
  EXPECT_EQ(schedule.rate(1), 1.0);
  EXPECT_EQ(schedule.rate(2), 1.5);
  EXPECT_EQ(schedule.rate(3), 2.0);
  EXPECT_EQ(schedule.rate(4), 2.0);
  EXPECT_EQ(schedule.rate(1'000'000'000'000), 2.0);
}

// rate(t) = rate * (8 - t) / (8 - 4) behind a warm-up of 4
TEST(Schedule, FromTheWarmUpOnItFallsLinearlyToZero) {
  const Schedule schedule = read("rate = 2.0\nwarmup_steps = 4\nfalls_until = 8");
  EXPECT_EQ(schedule.rate(0), 0.5);
  EXPECT_EQ(schedule.rate(4), 2.0);
  EXPECT_EQ(schedule.rate(5), 1.5);
  EXPECT_EQ(schedule.rate(7), 0.5);
  EXPECT_EQ(schedule.rate(8), 0);
  EXPECT_EQ(schedule.rate(1'000'000'000'000), 0);
  EXPECT_EQ(read("rate = 2.0\nfalls_until = 4").rate(1), 1.5);
  EXPECT_THROW(read("rate = 2.0\nwarmup_steps = 4\nfalls_until = 4"), Error);
}

TEST(Schedule, RateIsRequiredAndPositive) {
  EXPECT_THROW(read(""), Error);
  EXPECT_THROW(read("rate = 0"), Error);
  EXPECT_THROW(read("rate = -0.1"), Error);
  EXPECT_THROW(read("rate = 0.1\nwarmup_steps = -1"), Error);
}

}  // namespace
}  // namespace sheaf::optimization
