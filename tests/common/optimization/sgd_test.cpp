#include <gmock/gmock.h>

#include "common/base/error.h"
#include "tests/common/optimization/reference.h"

namespace sheaf::optimization {
namespace {

using testing::ElementsAre;

// By hand, powers of two: 2 - 0.5 * 1 = 1.5; 1.5 - 0.5 * -3 = 3.
TEST(Sgd, StepsAgainstTheGradient) {
  EXPECT_THAT(trace(*make_optimizer("sgd", ""), 2, 0.5, {1, -3}), ElementsAre(1.5f, 3.0f));
}

// By hand: g = 1 + 0.25 * 2 = 1.5, x = 2 - 0.5 * 1.5 = 1.25.
TEST(Sgd, DecayPullsTowardsZero) {
  EXPECT_THAT(trace(*make_optimizer("sgd", "decay = 0.25"), 2, 0.5, {1}), ElementsAre(1.25f));
}

// As above with decay 0.25 * 0 and 0.25 * 2: x = 2 - 0.5 * (1 + 0) and 2 - 0.5 * (1 + 1).
TEST(Sgd, AGroupScalesTheDecay) {
  const auto sgd = make_optimizer("sgd", "decay = 0.25");
  EXPECT_THAT(trace(*sgd, 2, 0.5, {1}, {.rate_scale = 1, .decay_scale = 0}), ElementsAre(1.5f));
  EXPECT_THAT(trace(*sgd, 2, 0.5, {1}, {.rate_scale = 1, .decay_scale = 2}), ElementsAre(1.0f));
}

TEST(Sgd, FollowsTheReferenceInDoublePrecision) {
  EXPECT_LT(largest_difference(*make_optimizer("sgd", ""), ReferenceSgd{}, 0.1, 100), 1e-5);
  EXPECT_LT(largest_difference(*make_optimizer("sgd", "decay = 0.03"), ReferenceSgd{.decay = 0.03},
                               0.1, 100),
            1e-5);
}

TEST(Sgd, NegativeDecayIsRefused) { EXPECT_THROW(make_optimizer("sgd", "decay = -0.1"), Error); }

}  // namespace
}  // namespace sheaf::optimization
