// What every loss promises, asked of every file in worker/models/losses/modes/: above all that its
// gradient is the derivative of its sum. The reference is a central difference of fourth order.
#include "worker/models/losses/loss.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/config/section.h"

namespace sheaf::worker {
namespace {

constexpr std::size_t kLossExamples = 6;
constexpr double kLossStep = 0x1p-6;
constexpr float kCandidates[] = {0, 1, 2, 0.5F, -1.25F};  // for targets
// Losses sum in fp64, but may take e^x in fp32: relative error 2^-23 of values below 8, divided by
// kLossStep; the gradient itself is rounded to fp32.
constexpr double kLossTolerance = 2e-4;

class LossConformance : public testing::TestWithParam<ModeEntry<Loss>> {
 protected:
  LossConformance()
      : job_(config::Document::from_text("[model]\n", "job.toml")),
        loss_(GetParam().mode->make(job_->root().table("model"))) {
    job_->throw_if_faulty();
    choose_shape();
    Stream stream(5, Purpose::test);
    while (outputs_.size() < kLossExamples * width_) {
      const float output = static_cast<float>(static_cast<int>(stream.next() % 4097) - 2048) *
                           0x1p-10F;  // -2 … 2 in multiples of 2^-10: a step is exact
      // A loss may have a kink where output and target meet.
      const auto is_near = [&](float target) { return std::abs(output - target) < 3 * kLossStep; };
      if (std::ranges::none_of(kCandidates, is_near)) outputs_.push_back(output);
    }
    while (targets_.size() < kLossExamples * schema_.targets) draw_target(stream);
  }

  // The widest shape up to three that the loss accepts.
  void choose_shape() {
    for (std::size_t width = 1; width <= 3; ++width) {
      for (std::size_t targets = 1; targets <= 3; ++targets) {
        const Schema schema{4, targets};
        if (loss_->mismatch(width, schema)) continue;
        width_ = width;
        schema_ = schema;
      }
    }
    ASSERT_GT(width_, 0U) << "accepts no shape";
  }

  // Appends the targets of one example, of those that the loss accepts.
  void draw_target(Stream& stream) {
    std::vector<float> target(schema_.targets);
    for (float& value : target) value = kCandidates[stream.next() % std::size(kCandidates)];
    if (loss_->bad_target(target, width_)) return;
    targets_.insert(targets_.end(), target.begin(), target.end());
  }

  double sum() const { return loss_->sum(kLossExamples, outputs_, targets_, {}); }

  std::unique_ptr<config::Document> job_;
  std::unique_ptr<Loss> loss_;
  std::size_t width_ = 0;
  Schema schema_;
  std::vector<float> outputs_, targets_;
};

TEST_P(LossConformance, TheGradientIsTheDerivativeOfTheSum) {
  std::vector<float> gradient(outputs_.size(), std::numeric_limits<float>::quiet_NaN());
  loss_->sum(kLossExamples, outputs_, targets_, gradient);
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const float middle = outputs_[i];
    const auto at = [&](double steps) {
      outputs_[i] = middle + static_cast<float>(steps * kLossStep);
      return sum();
    };
    const double slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * kLossStep);
    outputs_[i] = middle;
    EXPECT_NEAR(gradient[i], slope, kLossTolerance) << "output " << i;
  }
}

TEST_P(LossConformance, TheSumIsTheSameWithAndWithoutAGradient) {
  std::vector<float> gradient(outputs_.size());
  EXPECT_EQ(loss_->sum(kLossExamples, outputs_, targets_, gradient), sum());
}

TEST_P(LossConformance, TheSumIsThatOfTheExamples) {
  const std::span<const float> outputs(outputs_), targets(targets_);
  double total = 0;
  for (std::size_t i = 0; i < kLossExamples; ++i) {
    const double one = loss_->sum(1, outputs.subspan(i * width_, width_),
                                  targets.subspan(i * schema_.targets, schema_.targets), {});
    EXPECT_GE(one, 0);
    total += one;
  }
  EXPECT_NEAR(sum(), total, 1e-12 * total);
}

TEST_P(LossConformance, LargeOutputsDoNotOverflow) {
  for (float& output : outputs_) output *= 5e3F;
  std::vector<float> gradient(outputs_.size());
  EXPECT_TRUE(std::isfinite(loss_->sum(kLossExamples, outputs_, targets_, gradient)));
  for (const float value : gradient) EXPECT_TRUE(std::isfinite(value));
}

TEST_P(LossConformance, ANotANumberIsNeverHidden) {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const float kept = outputs_[i];
    outputs_[i] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(std::isnan(sum()));
    outputs_[i] = kept;
  }
}

TEST_P(LossConformance, ImpossibleTargetsAreNamed) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    const std::vector<float> targets(schema_.targets, bad);
    EXPECT_THAT(loss_->bad_target(targets, width_), testing::Ne(std::nullopt));
  }
}

TEST_P(LossConformance, NoTargetsFitNoModel) {
  EXPECT_TRUE(loss_->mismatch(width_, {4, 0}).has_value());
}

INSTANTIATE_TEST_SUITE_P(EveryMode, LossConformance, testing::ValuesIn(losses()),
                         [](const auto& mode) { return std::string(mode.param.name); });

}  // namespace
}  // namespace sheaf::worker
