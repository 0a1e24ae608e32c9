// Layers with options of their own: what the options change, with values worked out by hand.
#include <gmock/gmock.h>

#include <cmath>
#include <memory>
#include <vector>

#include "common/config/section.h"
#include "worker/models/layers/layer.h"

namespace sheaf::worker {
namespace {

using testing::ElementsAre;

std::unique_ptr<Layer> make(std::string_view kind, const std::string& keys, std::size_t inputs,
                            std::size_t index = 0) {
  const auto job = config::Document::from_text(keys, "job.toml");
  auto layer = find_mode(layers(), kind)->make(job->root(), inputs, index);
  job->throw_if_faulty();
  return layer;
}

Layer::Forward training(std::size_t examples, const PassKey& key = {}) {
  return {examples, key, true};
}

// Two inputs, two units: in W + b = (1 2) (1 -1; 3 -2) + (1 1) = (8 -4).
class DenseByHand : public testing::Test {
 protected:
  struct Result {
    std::vector<float> out, gradient, d_in;
  };
  static Result run(const std::string& keys, std::vector<float> parameters) {
    const auto dense = make("dense", "units = 2\n" + keys, 2);
    const std::vector<float> in = {1, 2};
    Result result{std::vector<float>(2), std::vector<float>(parameters.size()),
                  std::vector<float>(2)};
    std::vector<float> d_out = {10, 100};
    dense->forward(training(1), parameters, in, result.out);
    dense->backward(training(1), parameters, in, result.out, d_out, result.gradient, result.d_in);
    return result;
  }
};

TEST_F(DenseByHand, IsAMatrixAndABias) {
  const Result r = run("", {1, -1, 3, -2, 1, 1});
  EXPECT_THAT(r.out, ElementsAre(8, -4));
  EXPECT_THAT(r.gradient, ElementsAre(10, 100, 20, 200, 10, 100));  // in' d_out, then d_out
  EXPECT_THAT(r.d_in, ElementsAre(-90, -170));                      // d_out W'
}

TEST_F(DenseByHand, ReluStopsWhatIsNegative) {
  const Result r = run("activation = \"relu\"", {1, -1, 3, -2, 1, 1});
  EXPECT_THAT(r.out, ElementsAre(8, 0));
  EXPECT_THAT(r.gradient, ElementsAre(10, 0, 20, 0, 10, 0));
  EXPECT_THAT(r.d_in, ElementsAre(10, 30));
}

TEST_F(DenseByHand, HasNoBiasIfTold) {
  const Result r = run("bias = false\nactivation = \"relu\"", {1, -1, 3, -2});
  EXPECT_THAT(r.out, ElementsAre(7, 0));
  EXPECT_THAT(r.gradient, ElementsAre(10, 0, 20, 0));
}

// Sigmoid and tanh of 0 are 1/2 and 0, their derivatives there 1/4 and 1.
TEST_F(DenseByHand, SigmoidAndTanhAtZero) {
  const Result sigmoid = run("activation = \"sigmoid\"", {0, 0, 0, 0, 0, 0});
  EXPECT_THAT(sigmoid.out, ElementsAre(0.5F, 0.5F));
  EXPECT_THAT(sigmoid.gradient, ElementsAre(2.5F, 25, 5, 50, 2.5F, 25));
  const Result tanh = run("activation = \"tanh\"", {0, 0, 0, 0, 0, 0});
  EXPECT_THAT(tanh.out, ElementsAre(0, 0));
  EXPECT_THAT(tanh.gradient, ElementsAre(10, 100, 20, 200, 10, 100));
}

// An activation in the layer and the same activation as a layer of its own are the same function.
TEST(Dense, AFusedActivationIsTheLayerOfThatName) {
  constexpr std::size_t kInputs = 7, kUnits = 33, kExamples = 5;
  Stream stream(1, Purpose::test);
  const auto draw = [&](std::size_t size) {
    std::vector<float> values(size);
    for (float& value : values) value = static_cast<float>(stream.normal());
    return values;
  };
  const auto parameters = draw((kInputs + 1) * kUnits), in = draw(kExamples * kInputs);
  const auto d_out = draw(kExamples * kUnits);
  for (const std::string kind : {"relu", "sigmoid", "tanh"}) {
    const auto fused = make("dense", "units = 33\nactivation = \"" + kind + "\"", kInputs);
    const auto plain = make("dense", "units = 33", kInputs), after = make(kind, "", kUnits);
    std::vector<float> a(d_out.size()), b(d_out.size()), c(d_out.size()), d_b(d_out.size());
    std::vector<float> d_a = d_out, d_c = d_out, g_a(parameters.size()), g_b(parameters.size());
    const auto pass = training(kExamples);
    fused->forward(pass, parameters, in, a);
    fused->backward(pass, parameters, in, a, d_a, g_a, {});
    plain->forward(pass, parameters, in, b);
    after->forward(pass, {}, b, c);
    after->backward(pass, {}, b, c, d_c, {}, d_b);
    plain->backward(pass, parameters, in, b, d_b, g_b, {});
    EXPECT_EQ(a, c) << kind;
    EXPECT_EQ(g_a, g_b) << kind;
  }
}

TEST(Dense, InitialValuesFollowTheActivationUnlessTold) {
  const auto largest = [](const std::string& keys, std::size_t tensor) {
    const auto dense = make("dense", "units = 100\n" + keys, 200);
    std::vector<float> values(tensor == 0 ? 20000 : 100, 9.0F);
    Stream stream(1, Purpose::initialise);
    dense->initialise(tensor, values, stream);
    float size = 0;
    for (const float value : values) size = std::max(size, std::abs(value));
    return size;
  };
  const float glorot = std::sqrt(6.0F / 300);  // 0.141, never passed; He's deviation is 0.1
  EXPECT_LE(largest("", 0), glorot);
  EXPECT_LE(largest("activation = \"tanh\"", 0), glorot);
  EXPECT_GT(largest("activation = \"relu\"", 0), 2 * glorot);
  EXPECT_LE(largest("activation = \"relu\"\ninit = \"glorot\"", 0), glorot);
  EXPECT_EQ(largest("init = \"zero\"", 0), 0);
  EXPECT_EQ(largest("activation = \"relu\"", 1), 0);  // biases
}

class DropoutTest : public testing::Test {
 protected:
  static constexpr std::size_t kWidth = 50, kExamples = 400, kSize = kWidth * kExamples;
  static constexpr double kRate = 0.3;

  DropoutTest() : layer_(make("dropout", "rate = 0.3", kWidth, 2)) { layer_->reserve(kExamples); }
  std::vector<float> forward(const PassKey& key, bool is_training = true) {
    const std::vector<float> in(kSize, 1.0F);
    std::vector<float> out(kSize);
    layer_->forward({kExamples, key, is_training}, {}, in, out);
    return out;
  }
  std::unique_ptr<Layer> layer_;
};

// A binomial count of n draws: five standard errors.
TEST_F(DropoutTest, DropsTheShareItIsToldAndKeepsTheExpectation) {
  const std::vector<float> out = forward({1, 2, 3});
  const double n = static_cast<double>(kSize), bar = 5 * std::sqrt(kRate * (1 - kRate) / n);
  double dropped = 0, sum = 0;
  for (const float value : out) {
    EXPECT_TRUE(value == 0 || std::abs(value - 1 / 0.7F) < 1e-6F) << value;
    dropped += value == 0 ? 1 : 0;
    sum += static_cast<double>(value);
  }
  EXPECT_NEAR(dropped / n, kRate, bar);
  EXPECT_NEAR(sum / n, 1, bar / (1 - kRate));
}

TEST_F(DropoutTest, TheMaskIsAFunctionOfTheKeyAndTheLayer) {
  const std::vector<float> mask = forward({1, 2, 3});
  EXPECT_NE(forward({9, 2, 3}), mask);
  EXPECT_NE(forward({1, 9, 3}), mask);
  EXPECT_NE(forward({1, 2, 9}), mask);
  EXPECT_EQ(forward({1, 2, 3}), mask);
  layer_ = make("dropout", "rate = 0.3", kWidth, 9);
  layer_->reserve(kExamples);
  EXPECT_NE(forward({1, 2, 3}), mask);
}

TEST_F(DropoutTest, DoesNothingInEvaluation) {
  EXPECT_THAT(forward({1, 2, 3}, false), testing::Each(1.0F));
}

TEST_F(DropoutTest, RateZeroKeepsEverything) {
  layer_ = make("dropout", "rate = 0", kWidth);
  layer_->reserve(kExamples);
  EXPECT_THAT(forward({1, 2, 3}), testing::Each(1.0F));
}

}  // namespace
}  // namespace sheaf::worker
