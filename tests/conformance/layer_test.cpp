// What every layer promises, asked of every file in worker/models/layers/modes/: above all that
// backward() is the derivative of forward(). The reference is a central difference of fourth order.
#include "worker/models/layers/layer.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/config/section.h"
#include "worker/models/layers/example_rule.h"

namespace sheaf::worker {
namespace {

using testing::Each;
using testing::ElementsAreArray;

constexpr std::size_t kInputs = 5, kExamples = 4;
constexpr double kStep = 0x1p-6;
// An output is rounded to about 2^-23 of a value below 4, a few times; the difference divides that
// by kStep. The formula itself is off by kStep^4 / 30 times the fifth derivative: next to nothing.
constexpr double kTolerance = 5e-4;

// Multiples of 2^-10 with magnitudes from 1/8 to 1: a step of kStep is exact in a float, and two
// of them do not cross the corner that some layers have at 0.
std::vector<float> values(std::size_t size, std::uint64_t name) {
  Stream stream(3, Purpose::test, name);
  std::vector<float> x(size);
  for (float& value : x) {
    const float magnitude = static_cast<float>(128 + stream.next() % 897) * 0x1p-10F;
    value = stream.next() % 2 == 0 ? magnitude : -magnitude;
  }
  return x;
}

class LayerConformance : public testing::TestWithParam<ModeEntry<Layer>> {
 protected:
  // A layer of a family to come reads what it knows of these keys, or gets its own here.
  LayerConformance()
      : job_(config::Document::from_text("[layer]\nunits = 3\nrate = 0.4\n", "job.toml")),
        layer_(GetParam().mode->make(job_->root().table("layer"), kInputs, 2)) {
    job_->throw_if_faulty();
    layer_->reserve(kExamples);
    std::size_t size = 0;
    for (const TensorRequest& tensor : layer_->tensors()) {
      std::size_t elements = 1;
      for (const std::uint32_t extent : tensor.shape) elements *= extent;
      size += elements;
    }
    parameters_ = values(size, 1);
  }

  std::size_t outputs() const { return layer_->outputs(); }
  static Layer::Forward pass(std::size_t examples, bool training = true) {
    return {examples, PassKey{11, 5, 1}, training};
  }

  std::vector<float> forward(std::span<const float> in, bool training = true) {
    const std::size_t examples = in.size() / kInputs;
    std::vector<float> out(examples * outputs(), std::numeric_limits<float>::quiet_NaN());
    layer_->forward(pass(examples, training), parameters_, in, out);
    return out;
  }

  struct Gradients {
    std::vector<float> parameters, in;
  };
  Gradients backward(std::span<const float> in, std::vector<float> d_out, bool with_d_in = true) {
    const std::vector<float> out = forward(in);
    const float nan = std::numeric_limits<float>::quiet_NaN();  // a pass overwrites, never adds
    Gradients found{std::vector<float>(parameters_.size(), nan),
                    std::vector<float>(with_d_in ? in.size() : 0, nan)};
    layer_->backward(pass(in.size() / kInputs), parameters_, in, out, d_out, found.parameters,
                     found.in);
    return found;
  }

  // The number whose gradients are checked: a weighted sum of all outputs.
  double objective(std::span<const float> in) {
    const std::vector<float> out = forward(in);
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += static_cast<double>(weights_[i]) * out[i];
    return sum;
  }

  // d objective / d x for one value of the inputs or the parameters.
  double difference(float& x, std::span<const float> in) {
    const float middle = x;
    const auto at = [&](double steps) {
      x = middle + static_cast<float>(steps * kStep);
      return objective(in);
    };
    const double slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * kStep);
    x = middle;
    return slope;
  }

  std::unique_ptr<config::Document> job_;
  std::unique_ptr<Layer> layer_;
  std::vector<float> parameters_;
  std::vector<float> inputs_ = values(kExamples * kInputs, 2);
  std::vector<float> weights_ = values(kExamples * outputs(), 3);
};

TEST_P(LayerConformance, BackwardGivesTheDerivativeByTheInputs) {
  const Gradients found = backward(inputs_, weights_);
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    EXPECT_NEAR(found.in[i], difference(inputs_[i], inputs_), kTolerance) << "input " << i;
  }
}

TEST_P(LayerConformance, BackwardGivesTheDerivativeByTheParameters) {
  const Gradients found = backward(inputs_, weights_);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    EXPECT_NEAR(found.parameters[i], difference(parameters_[i], inputs_), kTolerance)
        << "parameter " << i;
  }
}

TEST_P(LayerConformance, TheFirstLayerIsSparedTheDerivativeByTheInputs) {
  const Gradients all = backward(inputs_, weights_);
  const Gradients first = backward(inputs_, weights_, false);
  EXPECT_THAT(first.parameters, ElementsAreArray(all.parameters));
}

TEST_P(LayerConformance, ASmallerBatchThanReservedIsAPassLikeAnyOther) {
  const std::vector<float> part = values(2 * kInputs, 2);
  const std::vector<float> d_out = values(2 * outputs(), 3);
  const std::vector<float> out = forward(part);
  const Gradients found = backward(part, d_out);
  layer_->reserve(kExamples + 3);
  EXPECT_THAT(forward(part), ElementsAreArray(out));
  EXPECT_THAT(backward(part, d_out).parameters, ElementsAreArray(found.parameters));
  EXPECT_THAT(backward(part, d_out).in, ElementsAreArray(found.in));
}

TEST_P(LayerConformance, TheSameKeyGivesTheSameBits) {
  const std::vector<float> once = forward(inputs_);
  forward(inputs_, false);
  EXPECT_THAT(forward(inputs_), ElementsAreArray(once));
}

TEST_P(LayerConformance, EvaluationHasNoRandomness) {
  const std::vector<float> once = forward(inputs_, false);
  EXPECT_THAT(forward(inputs_, false), ElementsAreArray(once));
  EXPECT_THAT(once, Each(testing::Truly([](float value) { return std::isfinite(value); })));
}

// Against backward() of each example by itself.
TEST_P(LayerConformance, AnExampleRuleClipsTheGradientOfEachExample) {
  ExampleRule* rule = layer_->example_rule();
  if (rule == nullptr) GTEST_SKIP() << "a job that clips examples is refused, or nothing to clip";
  const std::vector<float> weights = {0.25F, 1.0F, 0.0F, 0.7F};
  std::vector<double> expected(parameters_.size()), squares_expected(kExamples);
  std::vector<float> d_in_expected;
  for (std::size_t e = 0; e < kExamples; ++e) {
    const auto row = [&](const std::vector<float>& x, std::size_t width) {
      return std::vector<float>(x.begin() + static_cast<std::ptrdiff_t>(e * width),
                                x.begin() + static_cast<std::ptrdiff_t>((e + 1) * width));
    };
    const Gradients one = backward(row(inputs_, kInputs), row(weights_, outputs()));
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const double g = one.parameters[i];
      squares_expected[e] += g * g;
      expected[i] += static_cast<double>(weights[e]) * g;
    }
    d_in_expected.insert(d_in_expected.end(), one.in.begin(), one.in.end());
  }
  const std::vector<float> out = forward(inputs_);
  std::vector<float> signal = weights_, d_in(inputs_.size());
  std::vector<float> sum(parameters_.size(), std::numeric_limits<float>::quiet_NaN());
  std::vector<double> squares(kExamples, 1.0);
  rule->backward_signal(pass(kExamples), parameters_, inputs_, out, signal, d_in);
  rule->add_squares(inputs_, signal, squares);
  for (std::size_t e = 0; e < kExamples; ++e) {
    EXPECT_NEAR(squares[e], 1 + squares_expected[e], 1e-6 * (1 + squares_expected[e])) << e;
  }
  rule->sum(weights, inputs_, signal, sum);
  for (std::size_t i = 0; i < sum.size(); ++i) EXPECT_NEAR(sum[i], expected[i], 1e-5) << i;
  for (std::size_t i = 0; i < d_in.size(); ++i) EXPECT_NEAR(d_in[i], d_in_expected[i], 1e-5) << i;
}

TEST_P(LayerConformance, ExamplesThatAreSaidToBeApartMayChangePlaces) {
  if (!layer_->examples_are_apart()) GTEST_SKIP() << "a job that clips examples is refused";
  const auto reversed = [](const std::vector<float>& x) {
    const std::size_t width = x.size() / kExamples;
    std::vector<float> y;
    for (std::size_t e = kExamples; e-- > 0;) {
      y.insert(y.end(), x.begin() + static_cast<std::ptrdiff_t>(e * width),
               x.begin() + static_cast<std::ptrdiff_t>((e + 1) * width));
    }
    return y;
  };
  const std::vector<float> once = forward(inputs_), other = reversed(forward(reversed(inputs_)));
  for (std::size_t i = 0; i < once.size(); ++i) EXPECT_NEAR(other[i], once[i], 1e-6) << i;
}

TEST_P(LayerConformance, InitialValuesAreFiniteAndAFunctionOfTheStream) {
  const std::vector<TensorRequest> tensors = layer_->tensors();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::vector<float> once(7, std::numeric_limits<float>::quiet_NaN()), again(7, 1.0F);
    Stream stream(1, Purpose::initialise, i), same(1, Purpose::initialise, i);
    layer_->initialise(i, once, stream);
    layer_->initialise(i, again, same);
    EXPECT_THAT(again, ElementsAreArray(once)) << tensors[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(EveryMode, LayerConformance, testing::ValuesIn(layers()),
                         [](const auto& mode) { return std::string(mode.param.name); });

}  // namespace
}  // namespace sheaf::worker
