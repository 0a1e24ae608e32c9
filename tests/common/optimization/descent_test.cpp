// Ranges that do not follow the optimizer, by hand.
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "common/config/section.h"
#include "common/optimization/optimizer.h"

namespace sheaf::optimization {
namespace {

TEST(Descent, OfItsOwnTakesThePlaceOfTheOptimizer) {
  const auto document = config::Document::from_text("decay = 0.1\n", "job.toml");
  const auto adam = find_mode(optimizers(), "adam")->make(document->root());
  const std::vector<float> in = {3, -1}, sum = {8, 2};
  std::vector<float> state(4), out(2);
  OptimizerStep step;
  step.step = 5;
  step.gradient_scale = 0.5;
  step.rate = 0.125;
  step.group.own = {.rate = 0.25, .towards = 2};
  EXPECT_TRUE(take_step(*adam, step, in, sum, state, out));
  EXPECT_EQ(out, (std::vector<float>{2.5F, -0.75F}));  // 3 - (4 - 2) / 4, -1 - (1 - 2) / 4
  EXPECT_EQ(state, std::vector<float>(4));
  const std::vector<float> bad = {8, std::numeric_limits<float>::infinity()};
  EXPECT_FALSE(take_step(*adam, step, in, bad, state, out));

  step.group.own = {};
  std::vector<float> by_adam(2), state_of_adam(4);
  EXPECT_TRUE(take_step(*adam, step, in, sum, state, out));
  EXPECT_TRUE(adam->step(step, in, sum, state_of_adam, by_adam));
  EXPECT_EQ(out, by_adam);
  EXPECT_EQ(state, state_of_adam);
}

}  // namespace
}  // namespace sheaf::optimization
