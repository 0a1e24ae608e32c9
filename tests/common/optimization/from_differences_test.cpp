// Steps from what is new in a gradient are those of the gradient that it adds up to.
#include "common/optimization/from_differences.h"

#include <gmock/gmock.h>

#include <limits>

#include "tests/common/optimization/reference.h"

namespace sheaf::optimization {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

// Multiples of 2^-10, of which no difference rounds.
std::vector<float> lattice(std::size_t size, std::uint64_t name) {
  Stream stream(9, Purpose::test, name);
  std::vector<float> values(size);
  for (float& value : values) {
    value = static_cast<float>(static_cast<int>(stream.next() % 513) - 256) * 0x1p-10F;
  }
  return values;
}

TEST(FromDifferences, StepsAreThoseOfTheSumThatTheyAddUpTo) {
  constexpr std::size_t kSize = 37;
  constexpr std::uint64_t kExamples = 24;
  for (const std::string kind : {"sgd", "momentum", "adam"}) {
    SCOPED_TRACE(kind);
    const auto plain = make_optimizer(kind, "decay = 0.01");
    const auto news = from_differences(make_optimizer(kind, "decay = 0.01"), kExamples);
    const std::size_t runs = plain->state_per_parameter();
    ASSERT_EQ(news->state_per_parameter(), runs + 1);
    std::vector<float> x = lattice(kSize, 100), y = x, next(kSize), told(kSize);
    std::vector<float> state(runs * kSize), state_of_news((runs + 1) * kSize);
    for (Step step = 0; step < 50; ++step) {
      const auto gradient = lattice(kSize, step);
      std::vector<float> difference(kSize);
      for (std::size_t i = 0; i < kSize; ++i) difference[i] = gradient[i] - told[i];
      told = gradient;
      plain->step({.step = step, .gradient_scale = 1.0 / kExamples, .rate = 0.1, .group = {}}, x,
                  gradient, state, next);
      x.swap(next);
      // Of how many examples the step has there is nothing to see.
      news->step({.step = step, .gradient_scale = 1.0 / 7, .rate = 0.1, .group = {}}, y, difference,
                 state_of_news, next);
      y.swap(next);
      EXPECT_THAT(y, ElementsAreArray(x));
    }
    EXPECT_THAT(std::span(state_of_news).first(state.size()), ElementsAreArray(state));
    EXPECT_THAT(std::span(state_of_news).subspan(state.size()), ElementsAreArray(told));
  }
}

// With nothing new the gradient is what it was: 2, then 2 again.
TEST(FromDifferences, WhatWasToldCountsInEachStep) {
  EXPECT_THAT(trace(*from_differences(make_optimizer("sgd", ""), 4), 8, 0.5, {8, 0, -8}),
              ElementsAre(7.0F, 6.0F, 6.0F));
}

TEST(FromDifferences, FrozenParametersStayWhileTheirGradientIsTold) {
  EXPECT_THAT(
      trace(*from_differences(make_optimizer("sgd", ""), 4), 8, 0.5, {8, 0}, {.rate_scale = 0}),
      ElementsAre(8.0F, 8.0F));
}

TEST(FromDifferences, ASumThatIsNotFiniteIsSaid) {
  const auto news = from_differences(make_optimizer("sgd", ""), 1);
  const float most = std::numeric_limits<float>::max();
  float x = 1, next = 0, told = 0;
  EXPECT_TRUE(news->step({.rate = 0.1, .group = {}}, {&x, 1}, {&most, 1}, {&told, 1}, {&next, 1}));
  EXPECT_FALSE(news->step({.rate = 0.1, .group = {}}, {&x, 1}, {&most, 1}, {&told, 1}, {&next, 1}));
}

}  // namespace
}  // namespace sheaf::optimization
