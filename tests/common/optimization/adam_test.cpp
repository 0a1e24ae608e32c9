#include <gmock/gmock.h>

#include "common/base/error.h"
#include "tests/common/optimization/reference.h"

namespace sheaf::optimization {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

// Bias correction makes m_hat = g and v_hat = g^2 in the first step: it is rate * sign(g) for any
// size of gradient well above epsilon (Kingma and Ba, section 2.1).
TEST(Adam, TheFirstStepIsTheRateWhateverTheSizeOfTheGradient) {
  const auto adam = make_optimizer("adam", "");
  for (const float gradient : {1e-4f, 1.0f, 300.0f}) {
    EXPECT_THAT(trace(*adam, 0, 0.125, {gradient}), ElementsAre(FloatNear(-0.125f, 2e-5f)));
    EXPECT_THAT(trace(*adam, 0, 0.125, {-gradient}), ElementsAre(FloatNear(0.125f, 2e-5f)));
  }
}

// By hand with beta1 = beta2 = 1/2, epsilon = 1, rate 1, from 0, gradients 1 and 3:
// t = 1: m = 1/2, v = 1/2, m_hat = v_hat = 1, x = -1 / (1 + 1) = -1/2
// t = 2: m = 7/4, v = 19/4, m_hat = 7/3, v_hat = 19/3, x = -1/2 - (7/3) / (sqrt(19/3) + 1)
TEST(Adam, TwoStepsWorkedByHand) {
  const auto adam = make_optimizer("adam", "beta1 = 0.5\nbeta2 = 0.5\nepsilon = 1.0");
  const double second = -0.5 - (7.0 / 3) / (std::sqrt(19.0 / 3) + 1);
  EXPECT_THAT(trace(*adam, 0, 1, {1, 3}),
              ElementsAre(FloatNear(-0.5f, 1e-6f), FloatNear(static_cast<float>(second), 1e-6f)));
}

// A zero gradient leaves L2 decay alone to choose the direction, whose size Adam then normalises
// away: one whole rate. Decoupled decay shrinks by rate * decay = 1/32 instead (AdamW).
TEST(Adam, DecoupledDecayIsNotNormalisedAway) {
  const auto l2 = make_optimizer("adam", "decay = 0.25");
  const auto decoupled = make_optimizer("adam", "decay = 0.25\ndecoupled = true");
  EXPECT_THAT(trace(*l2, 2, 0.125, {0}), ElementsAre(FloatNear(1.875f, 1e-5f)));
  EXPECT_THAT(trace(*decoupled, 2, 0.125, {0}), ElementsAre(1.9375f));
}

TEST(Adam, DecoupledDecayIsScaledByTheGroup) {
  const auto adam = make_optimizer("adam", "decay = 0.25\ndecoupled = true");
  EXPECT_THAT(trace(*adam, 2, 0.125, {0}, {.rate_scale = 1, .decay_scale = 0}), ElementsAre(2.0f));
  EXPECT_THAT(trace(*adam, 2, 0.125, {0}, {.rate_scale = 0.5f, .decay_scale = 2}),
              ElementsAre(1.9375f));
}

// The reference has 0.999 in double, the kernel rounds it to float.
TEST(Adam, FollowsTheReferenceInDoublePrecision) {
  EXPECT_LT(largest_difference(*make_optimizer("adam", ""), ReferenceAdam{}, 0.01, 300), 1e-5);
  EXPECT_LT(largest_difference(*make_optimizer("adam", "decay = 0.03"),
                               ReferenceAdam{.decay = 0.03}, 0.01, 300),
            1e-5);
  EXPECT_LT(
      largest_difference(
          *make_optimizer("adam", "decay = 0.03\ndecoupled = true\nbeta1 = 0.8\nbeta2 = 0.95"),
          ReferenceAdam{.decay = 0.03, .decoupled = true, .beta1 = 0.8, .beta2 = 0.95}, 0.01, 300),
      1e-5);
}

// After a million steps beta^t is 0 in effect and the corrections are 1.
TEST(Adam, CorrectionsFadeOut) {
  const auto adam = make_optimizer("adam", "beta1 = 0.5\nbeta2 = 0.5\nepsilon = 1.0");
  float x = 0;
  float gradient = 1;
  float next = 0;
  std::vector<float> state = {1, 1};
  adam->step({.step = 1'000'000, .rate = 1, .group = {}}, {&x, 1}, {&gradient, 1}, state,
             {&next, 1});
  EXPECT_THAT(state, ElementsAre(1.0f, 1.0f));
  EXPECT_EQ(next, -0.5f);  // m = v = 1: 0 - 1 / (1 + 1)
}

TEST(Adam, ImpossibleOptionsAreRefused) {
  for (const char* options : {"beta1 = 1.0", "beta2 = -0.1", "epsilon = 0.0", "decay = -1.0"}) {
    EXPECT_THROW(make_optimizer("adam", options), Error) << options;
  }
}

}  // namespace
}  // namespace sheaf::optimization
