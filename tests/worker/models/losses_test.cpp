// Values worked out by hand or in closed form, and what each loss accepts.
#include <gmock/gmock.h>

#include <cmath>
#include <memory>
#include <vector>

#include "common/config/section.h"
#include "worker/models/losses/loss.h"

namespace sheaf::worker {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Optional;

class Losses : public testing::Test {
 protected:
  std::unique_ptr<Loss> make(std::string_view name) const {
    return find_mode(losses(), name)->make(job_->root());
  }
  std::unique_ptr<config::Document> job_ = config::Document::from_text("", "job.toml");
};

TEST_F(Losses, SquaredErrorIsTheMeanOverTheTargetsOfAnExample) {
  const auto loss = make("mse");
  // Example 1: ((1 - 0)^2 + (2 - 4)^2) / 2 = 2.5; example 2: ((0 - 3)^2 + 0) / 2 = 4.5.
  const std::vector<float> outputs = {1, 2, 0, 5}, targets = {0, 4, 3, 5};
  std::vector<float> gradient(4);
  EXPECT_DOUBLE_EQ(loss->sum(2, outputs, targets, gradient), 7);
  EXPECT_THAT(gradient, ElementsAre(1, -2, -3, 0));  // 2 / 2 times the error
  EXPECT_EQ(loss->task(), Task::regression);
}

TEST_F(Losses, BinaryCrossEntropyOfLogThree) {
  const auto loss = make("binary_cross_entropy");
  // Logit log 3 is the probability 3/4: -log(3/4) for class 1, -log(1/4) for class 0.
  const std::vector<float> outputs = {std::log(3.0F), std::log(3.0F)}, targets = {1, 0};
  std::vector<float> gradient(2);
  EXPECT_NEAR(loss->sum(2, outputs, targets, gradient), -std::log(0.75) - std::log(0.25), 1e-6);
  EXPECT_THAT(gradient, ElementsAre(FloatNear(-0.25F, 1e-6F), FloatNear(0.75F, 1e-6F)));
  EXPECT_EQ(loss->task(), Task::binary_classification);
}

// For a confident and right logit z the loss is e^-z and the gradient -e^-z, up to e^-2z.
TEST_F(Losses, BinaryCrossEntropyKeepsItsDigitsWhenItIsSmall) {
  const auto loss = make("binary_cross_entropy");
  const std::vector<float> outputs = {30}, targets = {1};
  std::vector<float> gradient(1);
  EXPECT_NEAR(loss->sum(1, outputs, targets, gradient) / std::exp(-30.0), 1, 1e-6);
  EXPECT_NEAR(static_cast<double>(gradient[0]) / -std::exp(-30.0), 1, 1e-6);
}

TEST_F(Losses, SoftmaxCrossEntropyOfKnownProbabilities) {
  const auto loss = make("softmax_cross_entropy");
  // Logits log 1, log 2, log 5, shifted by 7 in the second row: probabilities 1/8, 1/4, 5/8.
  const float two = std::log(2.0F), five = std::log(5.0F);
  const std::vector<float> outputs = {0, two, five, 7, 7 + two, 7 + five}, targets = {2, 0};
  std::vector<float> gradient(6);
  EXPECT_NEAR(loss->sum(2, outputs, targets, gradient), -std::log(0.625) - std::log(0.125), 2e-6);
  const float expected[] = {0.125F, 0.25F, -0.375F, -0.875F, 0.25F, 0.625F};
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(gradient[i], expected[i], 1e-6F) << i;
  EXPECT_EQ(loss->task(), Task::classification);
}

// The classic first value of a classifier: with equal logits the loss is log(classes).
TEST_F(Losses, SoftmaxCrossEntropyOfEqualLogitsIsTheLogOfTheClasses) {
  const std::vector<float> outputs(10, 3.0F), targets = {4};
  EXPECT_NEAR(make("softmax_cross_entropy")->sum(1, outputs, targets, {}), std::log(10.0), 1e-12);
}

TEST_F(Losses, TargetsThatCannotBeAreNamed) {
  using Values = std::vector<float>;
  const auto softmax = make("softmax_cross_entropy"), binary = make("binary_cross_entropy");
  EXPECT_THAT(softmax->bad_target(Values{11}, 10),
              Optional<std::string>("label 11, expected 0..9"));
  EXPECT_THAT(softmax->bad_target(Values{-1}, 10),
              Optional<std::string>("label -1, expected 0..9"));
  EXPECT_THAT(softmax->bad_target(Values{0.5F}, 10),
              Optional<std::string>("label 0.5, expected 0..9"));
  EXPECT_EQ(softmax->bad_target(Values{9}, 10), std::nullopt);
  EXPECT_THAT(binary->bad_target(Values{2}, 1), Optional<std::string>("label 2, expected 0 or 1"));
  EXPECT_EQ(binary->bad_target(Values{1}, 1), std::nullopt);
  EXPECT_EQ(make("mse")->bad_target(Values{-3e30F}, 1), std::nullopt);
}

TEST_F(Losses, ShapesThatDoNotFitSayWhatWould) {
  const auto mse = make("mse")->mismatch(2, {4, 3});
  EXPECT_EQ(mse->found, "2 outputs of the last layer");
  EXPECT_EQ(mse->expected, "3, one for each target");
  EXPECT_EQ(mse->attempt, "units = 3 in the last layer");
  EXPECT_EQ(make("mse")->mismatch(3, {4, 3}), std::nullopt);

  const auto softmax = make("softmax_cross_entropy");
  EXPECT_EQ(softmax->mismatch(10, {4, 1}), std::nullopt);
  EXPECT_EQ(softmax->mismatch(1, {4, 1})->expected, "a logit for each class, at least 2");
  EXPECT_EQ(softmax->mismatch(10, {4, 2})->found, "2 targets per example");

  const auto binary = make("binary_cross_entropy");
  EXPECT_EQ(binary->mismatch(1, {4, 1}), std::nullopt);
  EXPECT_EQ(binary->mismatch(2, {4, 1})->expected, "1, the logit of class 1");
}

}  // namespace
}  // namespace sheaf::worker
