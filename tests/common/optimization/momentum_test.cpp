#include <gmock/gmock.h>

#include "common/base/error.h"
#include "tests/common/optimization/reference.h"

namespace sheaf::optimization {
namespace {

using testing::ElementsAre;

// By hand with momentum 0.5: v = 1, x = 2 - 0.5 = 1.5; v = 0.5 - 3 = -2.5, x = 1.5 + 1.25 = 2.75;
// v = -1.25, x = 2.75 + 0.625 = 3.375: the velocity outlives the gradient.
TEST(Momentum, TheVelocityOutlivesTheGradient) {
  EXPECT_THAT(trace(*make_optimizer("momentum", "momentum = 0.5"), 2, 0.5, {1, -3, 0}),
              ElementsAre(1.5f, 2.75f, 3.375f));
}

// By hand: v = 1, x = 2 - 0.5 * (1 + 0.5) = 1.25; v = -2.5, x = 1.25 - 0.5 * (-3 - 1.25) = 3.375.
TEST(Momentum, NesterovLooksAhead) {
  EXPECT_THAT(
      trace(*make_optimizer("momentum", "momentum = 0.5\nnesterov = true"), 2, 0.5, {1, -3}),
      ElementsAre(1.25f, 3.375f));
}

// By hand: g = 1 + 0.25 * 2 = 1.5 = v, x = 2 - 0.75 = 1.25; g = 0.3125, v = 0.75 + 0.3125 = 1.0625,
// x = 1.25 - 0.53125 = 0.71875: decay enters the velocity, as in PyTorch.
TEST(Momentum, DecayEntersTheVelocity) {
  EXPECT_THAT(trace(*make_optimizer("momentum", "momentum = 0.5\ndecay = 0.25"), 2, 0.5, {1, 0}),
              ElementsAre(1.25f, 0.71875f));
}

TEST(Momentum, ZeroMomentumIsPlainDescent) {
  EXPECT_LT(
      largest_difference(*make_optimizer("momentum", "momentum = 0.0"), ReferenceSgd{}, 0.1, 50),
      1e-5);
}

TEST(Momentum, FollowsTheReferenceInDoublePrecision) {
  EXPECT_LT(largest_difference(*make_optimizer("momentum", ""), ReferenceMomentum{}, 0.01, 200),
            1e-5);
  EXPECT_LT(largest_difference(*make_optimizer("momentum", "decay = 0.03\nnesterov = true"),
                               ReferenceMomentum{.decay = 0.03, .nesterov = true}, 0.01, 200),
            1e-5);
}

TEST(Momentum, AMomentumOfOneIsRefused) {
  EXPECT_THROW(make_optimizer("momentum", "momentum = 1.0"), Error);
}

}  // namespace
}  // namespace sheaf::optimization
