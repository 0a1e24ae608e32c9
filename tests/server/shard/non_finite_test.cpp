// What a shard makes of gradients that are not finite.
#include <gmock/gmock.h>

#include <functional>
#include <limits>

#include "common/base/error.h"
#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

std::string divergence(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::diverged) << error.message();
    return error.message();
  }
  ADD_FAILURE() << "was applied";
  return {};
}

TEST(ShardTest, AGradientThatIsNotFiniteIsDivergence) {
  for (const double clip : {0.0, 1.0}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      ShardJob job({.tensors = {16}, .clip_norm = clip});
      job.init_all(1);
      std::vector<float> gradient(16, 1.0F);
      gradient[9] = bad;
      const auto text = divergence([&] { job.push(0, 0, {0, 4}, gradient, 4); });
      EXPECT_THAT(text, HasSubstr("step 0: the gradient of parameters 0..16 is not finite (t0)"));
    }
  }
}

// One chunk of one lane is not finite: no chunk moves, no optimizer is asked, and its state (which
// counts its steps) stays. The next step counts as ever: 1 - (1 + 1) / 2.
TEST(ShardTest, AStepThatIsNotFiniteIsLeftOutByAllLanes) {
  for (const auto& [servers, lanes] : {std::pair{1U, 1U}, {1U, 3U}, {3U, 2U}}) {
    ShardJob job({.partitions = 2, .servers = servers, .lanes = lanes, .skip_non_finite = true});
    job.init_all(1);
    for (const Step step : {0U, 1U}) {
      for (std::uint32_t c = 0; c < 3; ++c) {
        std::vector<float> gradient(16, 1.0F);
        if (step == 0 && c == 1) gradient[9] = std::numeric_limits<float>::infinity();
        job.push(step, c, {0, 1}, 1.0F);
        job.push(step, c, {1, 1}, gradient);
      }
      for (std::uint32_t c = 0; c < 3; ++c) {
        EXPECT_THAT(job.parameters(step + 1, c), Each(step == 0 ? 1.0F : 0.0F));
      }
    }
    EXPECT_THAT(job.optimizer().calls, SizeIs(3));
    EXPECT_THAT(job.skipped, ElementsAre(0U));
  }
}

TEST(ShardTest, StepsThatAreNeverFiniteAreDivergence) {
  ShardJob job({.tensors = {16}, .partitions = 1, .skip_non_finite = true});
  job.init_all(1);
  const float bad = std::numeric_limits<float>::quiet_NaN();
  for (Step step = 0; step < 99; ++step) job.push(step, 0, {0, 1}, bad);
  job.push(99, 0, {0, 1}, 1.0F);  // one that is, and they are counted anew
  for (Step step = 100; step < 199; ++step) job.push(step, 0, {0, 1}, bad);
  const auto text = divergence([&] { job.push(199, 0, {0, 1}, bad); });
  EXPECT_THAT(text, HasSubstr("step 199 is the 100th in a row whose gradient is not finite"));
}

TEST(ShardTest, ASumThatOverflowsIsDivergence) {
  ShardJob job({.tensors = {16}, .partitions = 2});
  job.init_all(1);
  job.push(0, 0, {0, 1}, std::numeric_limits<float>::max());
  divergence([&] { job.push(0, 0, {1, 1}, std::numeric_limits<float>::max()); });
}

}  // namespace
}  // namespace sheaf::server
