// What every optimizer promises, asked of every file in common/optimization/modes/ with its
// defaults.
#include "common/optimization/optimizer.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/config/section.h"

namespace sheaf::optimization {
namespace {

using testing::Each;
using testing::ElementsAreArray;

// Not a multiple of any vector width.
constexpr std::size_t kSize = 1037;

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> words;
  for (const float value : values) words.push_back(std::bit_cast<std::uint32_t>(value));
  return words;
}

std::vector<float> normals(std::size_t size, std::uint64_t name) {
  Stream stream(1, Purpose::test, name);
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(stream.normal());
  return values;
}

class OptimizerConformance : public testing::TestWithParam<ModeEntry<Optimizer>> {
 protected:
  OptimizerConformance()
      : job_(config::Document::from_text("[optimizer]\nrate = 0.05\n", "job.toml")),
        optimizer_(GetParam().mode->make(job_->root().table("optimizer"))) {
    job_->throw_if_faulty();
  }

  std::vector<float> zero_state(std::size_t size) const {
    return std::vector<float>(size * optimizer_->state_per_parameter());
  }

  // One step of `size` parameters that starts from a state a few steps old, so that no term of the
  // update is zero. Returns the new parameters followed by the new state.
  std::vector<float> third_step(std::span<const float> in, std::uint64_t gradients,
                                std::size_t first = 0) const {
    std::vector<float> state = zero_state(in.size());
    std::vector<float> now(in.begin(), in.end());
    std::vector<float> next(in.size());
    for (Step step = 0; step < 3; ++step) {
      const std::vector<float> all = normals(kSize, gradients + step);
      std::vector<float> gradient(all.begin() + static_cast<std::ptrdiff_t>(first),
                                  all.begin() + static_cast<std::ptrdiff_t>(first + in.size()));
      optimizer_->step({.step = step, .gradient_scale = 0.125, .rate = 0.05, .group = {}}, now,
                       gradient, state, next);
      std::swap(now, next);
    }
    now.insert(now.end(), state.begin(), state.end());
    return now;
  }

  std::unique_ptr<config::Document> job_;
  std::unique_ptr<Optimizer> optimizer_;
};

// f(x) = sum a_i (x_i - c_i)^2 / 2 with a_i in [0.5, 2] has its minimum at c.
TEST_P(OptimizerConformance, ConvergesOnAQuadratic) {
  const std::vector<float> start = normals(kSize, 1);
  const std::vector<float> centre = normals(kSize, 2);
  const auto curvature = [](std::size_t i) { return 0.5f + 1.5f * static_cast<float>(i) / kSize; };
  const auto loss = [&](std::span<const float> x) {
    double sum = 0;
    for (std::size_t i = 0; i < kSize; ++i) {
      sum += 0.5 * curvature(i) * std::pow(static_cast<double>(x[i]) - centre[i], 2);
    }
    return sum;
  };
  const auto after_500_steps = [&](double rate) {
    std::vector<float> x = start;
    std::vector<float> next(kSize);
    std::vector<float> gradient(kSize);
    std::vector<float> state = zero_state(kSize);
    for (Step step = 0; step < 500; ++step) {
      for (std::size_t i = 0; i < kSize; ++i) gradient[i] = curvature(i) * (x[i] - centre[i]);
      optimizer_->step({.step = step, .rate = rate, .group = {}}, x, gradient, state, next);
      std::swap(x, next);
    }
    return loss(x);
  };
  // Optimizers differ in the rate they want; one of two must suit.
  EXPECT_LT(std::min(after_500_steps(0.05), after_500_steps(0.5)), 1e-3 * loss(start));
}

TEST_P(OptimizerConformance, PiecesOfAChunkGiveTheBitsOfTheWhole) {
  const std::vector<float> in = normals(kSize, 3);
  const std::vector<float> whole = third_step(in, 10);
  const std::size_t runs = 1 + optimizer_->state_per_parameter();
  std::size_t first = 0;
  for (const std::size_t end : {std::size_t{1}, std::size_t{8}, std::size_t{523}, kSize}) {
    const std::size_t size = end - first;
    const std::vector<float> piece = third_step(std::span(in).subspan(first, size), 10, first);
    for (std::size_t run = 0; run < runs; ++run) {
      EXPECT_THAT(bits(std::span(piece).subspan(run * size, size)),
                  ElementsAreArray(bits(std::span(whole).subspan(run * kSize + first, size))))
          << "parameters [" << first << ", " << end << "), run " << run;
    }
    first = end;
  }
}

TEST_P(OptimizerConformance, SameInputGivesTheSameBitsAgain) {
  const std::vector<float> in = normals(kSize, 4);
  const std::vector<float> once = third_step(in, 20);
  third_step(normals(kSize, 5), 30);  // nothing of another chunk may stay behind
  EXPECT_THAT(bits(third_step(in, 20)), ElementsAreArray(bits(once)));
}

TEST_P(OptimizerConformance, GradientScaleMultipliesTheSumFirst) {
  const std::vector<float> in = normals(kSize, 6);
  const std::vector<float> gradient = normals(kSize, 7);
  std::vector<float> sum = gradient;
  for (float& value : sum) value *= 4;  // a power of two: exact
  std::vector<float> mean = gradient;
  std::vector<float> from_sum(kSize);
  std::vector<float> from_mean(kSize);
  std::vector<float> state = zero_state(kSize);
  optimizer_->step({.gradient_scale = 0.25, .rate = 0.05, .group = {}}, in, sum, state, from_sum);
  state = zero_state(kSize);
  optimizer_->step({.gradient_scale = 1, .rate = 0.05, .group = {}}, in, mean, state, from_mean);
  EXPECT_THAT(bits(from_sum), ElementsAreArray(bits(from_mean)));
}

TEST_P(OptimizerConformance, WritesItsOutputAndItsStateAndNothingElse) {
  constexpr std::size_t kGuard = 16;
  constexpr float kMark = 12345;
  const std::size_t state_size = zero_state(kSize).size();
  const std::vector<float> in = normals(kSize, 8);
  const std::vector<float> in_before = in;
  std::vector<float> gradient = normals(kSize, 9);
  std::vector<float> out(kSize + 2 * kGuard, kMark);
  std::vector<float> state(state_size + 2 * kGuard, kMark);
  std::fill_n(state.begin() + kGuard, state_size, 0.0f);

  optimizer_->step({.rate = 0.05, .group = {}}, in, gradient,
                   std::span(state).subspan(kGuard, state_size),
                   std::span(out).subspan(kGuard, kSize));

  EXPECT_THAT(bits(in), ElementsAreArray(bits(in_before)));
  for (const auto& guarded : {std::span(out), std::span(state)}) {
    EXPECT_THAT(guarded.first(kGuard), Each(kMark));
    EXPECT_THAT(guarded.last(kGuard), Each(kMark));
  }
  // Every parameter moved, and every float of state that is asked for is used.
  for (std::size_t i = 0; i < kSize; ++i) ASSERT_NE(out[kGuard + i], in[i]) << "parameter " << i;
  for (std::size_t i = 0; i < state_size; ++i) ASSERT_NE(state[kGuard + i], 0) << "state " << i;
}

TEST_P(OptimizerConformance, PastTheCachesItWritesTheSameBits) {
  const std::vector<float> in = normals(kSize, 14);
  std::vector<float> gradient = normals(kSize, 15);
  std::vector<float> states[2] = {zero_state(kSize), zero_state(kSize)};
  std::vector<float> outs[2] = {std::vector<float>(kSize), std::vector<float>(kSize)};
  for (const bool streamed : {false, true}) {
    EXPECT_TRUE(optimizer_->step({.rate = 0.05, .group = {}, .streamed = streamed}, in, gradient,
                                 states[streamed], outs[streamed]));
  }
  EXPECT_THAT(bits(outs[1]), ElementsAreArray(bits(outs[0])));
  EXPECT_THAT(bits(states[1]), ElementsAreArray(bits(states[0])));
}

TEST_P(OptimizerConformance, AGradientThatIsNotFiniteIsSaidWhereverItLies) {
  const std::vector<float> in = normals(kSize, 16);
  const std::vector<float> sound = normals(kSize, 17);
  std::vector<float> out(kSize);
  for (const std::size_t at : {std::size_t{0}, std::size_t{1}, kSize / 2, kSize - 1}) {
    for (const float bad :
         {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      for (const bool streamed : {false, true}) {
        for (const float rate_scale : {0.0F, 1.0F}) {
          std::vector<float> gradient = sound;
          std::vector<float> state = zero_state(kSize);
          const OptimizerStep step{.rate = 0.05, .group = {rate_scale, 1}, .streamed = streamed};
          EXPECT_TRUE(optimizer_->step(step, in, gradient, state, out));
          gradient[at] = bad;
          EXPECT_FALSE(optimizer_->step(step, in, gradient, state, out)) << bad << " at " << at;
        }
      }
    }
  }
}

TEST_P(OptimizerConformance, AFrozenGroupKeepsItsBitsWhateverTheGradientHolds) {
  std::vector<float> in = normals(kSize, 10);
  in[0] = -0.0f;  // -0 - 0 * -1 would be +0
  std::vector<float> gradient = normals(kSize, 11);
  gradient[0] = -1;
  gradient[1] = std::numeric_limits<float>::infinity();
  gradient[2] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> out(kSize);
  std::vector<float> state = zero_state(kSize);
  optimizer_->step({.rate = 0.05, .group = {.rate_scale = 0, .decay_scale = 1}}, in, gradient,
                   state, out);
  EXPECT_THAT(bits(out), ElementsAreArray(bits(in)));
}

TEST_P(OptimizerConformance, TheRateScaleOfAGroupIsARate) {
  const std::vector<float> in = normals(kSize, 12);
  std::vector<float> gradient = normals(kSize, 13);
  std::vector<float> same = gradient;
  std::vector<float> scaled(kSize);
  std::vector<float> slower(kSize);
  std::vector<float> state = zero_state(kSize);
  optimizer_->step({.rate = 0.5, .group = {.rate_scale = 0.25f, .decay_scale = 1}}, in, gradient,
                   state, scaled);
  state = zero_state(kSize);
  optimizer_->step({.rate = 0.125, .group = {}}, in, same, state, slower);
  EXPECT_THAT(bits(scaled), ElementsAreArray(bits(slower)));
}

INSTANTIATE_TEST_SUITE_P(EveryMode, OptimizerConformance, testing::ValuesIn(optimizers()),
                         [](const auto& mode) { return std::string(mode.param.name); });

}  // namespace
}  // namespace sheaf::optimization
