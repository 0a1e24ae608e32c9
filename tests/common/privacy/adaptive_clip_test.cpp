// The bound that adapts, by the formulas of Andrew, Thakkar, McMahan, Ramaswamy (2021).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/base/random.h"
#include "common/config/section.h"
#include "common/optimization/optimizer.h"
#include "common/privacy/clip.h"
#include "common/privacy/gaussian.h"

namespace sheaf::privacy {
namespace {

Clip adaptive(double norm, double share = 0.0025) {
  return {.kind = ClipKind::adaptive, .norm = norm, .count_share = share};
}

TEST(AdaptiveClip, GivesAGradientAtMostItsShareOfTheNormWhateverTheBound) {
  Stream stream(5, Purpose::test);
  for (int i = 0; i < 10'000; ++i) {
    Clip clip = adaptive(std::exp(4 * stream.normal()), std::pow(10, -5 * stream.uniform()) / 2);
    clip.examples = 1 + stream.next() % 5;
    const double m = static_cast<double>(clip.examples);
    const Clip now = clip.at(static_cast<float>(3 * stream.normal()));
    const double squares = std::exp(20 * stream.normal());
    const double gradient = static_cast<double>(now.weight(squares)) * std::sqrt(squares);
    const double count = static_cast<double>(clip.count_unit()) / 2;
    EXPECT_LE(std::hypot(gradient, count), clip.norm / m * (1 + 1e-12));
    // Above the bound all of the norm is used.
    if (std::sqrt(squares) > clip.norm / m * now.bound) {
      EXPECT_GT(std::hypot(gradient, count), clip.norm / m * (1 - 1e-6));
    }
    const double share = count * count * m * m / clip.norm / clip.norm;
    EXPECT_LE(share, clip.count_share);
    EXPECT_GT(share, 0.98 * clip.count_share);
  }
}

// sigma^-2 = sigma_gradient^-2 + (2 sigma_count)^-2, theorem 1 of the paper.
TEST(AdaptiveClip, TheNoiseOfBothTogetherIsThatOfFlatClipping) {
  const Clip clip = adaptive(3, 0.1);
  const double sigma = 1.3;
  const double a = static_cast<double>(clip.weight(0));  // of a small gradient, with B = C
  const double of_gradient = sigma / a;
  const double of_count = sigma * clip.norm / static_cast<double>(clip.count_unit());
  EXPECT_NEAR(1 / (of_gradient * of_gradient) + 1 / (4 * of_count * of_count), 1 / (sigma * sigma),
              1e-7);
}

TEST(AdaptiveClip, CountsHalvesByTheBound) {
  Clip clip = adaptive(2);
  EXPECT_EQ(clip.half(4), 0.5);  // on the bound
  EXPECT_EQ(clip.half(4.001), -0.5);
  EXPECT_EQ(clip.at(1).half(29), 0.5);  // 2 e = 5.44
  EXPECT_EQ(clip.at(1).half(30), -0.5);
  EXPECT_EQ(clip.half(std::numeric_limits<double>::quiet_NaN()), 0);
  EXPECT_EQ(clip.half(std::numeric_limits<double>::infinity()), 0);
  clip.quantile = 0.75;  // of which it moves the bound to neither side
  EXPECT_EQ(clip.half(std::numeric_limits<double>::infinity()), 0.25);
  const float unit = clip.count_unit();  // 0.2, cut to 8 bits: sums of halves are exact
  EXPECT_EQ(unit, 204.0F / 1024);
  EXPECT_EQ(32767.5F * unit - 32767 * unit, unit / 2);
}

// One step after the other over the same norms, as a job takes them: sum, noise, division by the
// expected number, the servers' rule.
class Bound {
 public:
  Bound(const Clip& clip, std::vector<double> norms)
      : clip_(clip),
        norms_(std::move(norms)),
        document_(config::Document::from_text("", "job.toml")),
        sgd_(find_mode(optimization::optimizers(), "sgd")->make(document_->root())) {}

  void step(const Gaussian* noise = nullptr) {
    const Clip now = clip_.at(x_);
    double halves = 0;
    for (const double norm : norms_) halves += now.half(norm * norm);
    float sum = static_cast<float>(halves) * clip_.count_unit();
    if (noise != nullptr) noise->perturb({&sum, 1}, {steps_, 0, 0});
    optimization::OptimizerStep request;
    request.step = steps_++;
    request.rate = 100;
    request.gradient_scale =
        static_cast<double>(clip_.examples) / static_cast<double>(norms_.size());
    request.group.own = clip_.bound_descent();
    float next = 0;
    optimization::take_step(*sgd_, request, {&x_, 1}, {&sum, 1}, {}, {&next, 1});
    x_ = next;
  }
  double value() const { return clip_.norm * std::exp(static_cast<double>(x_)); }
  double share() const {  // of the norms that are below it
    const double bound = clip_.norm / static_cast<double>(clip_.examples) * clip_.at(x_).bound;
    const auto below = std::ranges::count_if(norms_, [&](double norm) { return norm <= bound; });
    return static_cast<double>(below) / static_cast<double>(norms_.size());
  }

 private:
  Clip clip_;
  std::vector<double> norms_;
  std::unique_ptr<config::Document> document_;
  std::unique_ptr<optimization::Optimizer> sgd_;
  float x_ = 0;
  Step steps_ = 0;
};

// All norms are 5: from 2 on the bound grows by exp(0.2 * 0.7), and from above falls by
// exp(0.2 * 0.3) a step.
TEST(AdaptiveClip, GoesGeometricallyToTheNormOfAll) {
  Clip clip = adaptive(2);
  clip.quantile = 0.7;
  Bound bound(clip, std::vector<double>(40, 5));
  double expected = 2;
  for (int t = 0; t < 60; ++t) {
    expected *= std::exp(0.2 * (expected < 5 ? 0.7 : -0.3));
    bound.step();
    EXPECT_NEAR(bound.value(), expected, 1e-5 * expected) << t;
  }
}

TEST(AdaptiveClip, FindsTheQuantileAlsoWithNoiseAndForUsers) {
  Stream stream(6, Purpose::test);
  std::vector<double> norms(4000);
  for (double& norm : norms) norm = std::exp(3 + stream.normal());
  for (const double quantile : {0.2, 0.5, 0.9}) {
    for (const std::uint64_t examples : {1U, 4U}) {
      Clip clip = adaptive(0.1);
      clip.quantile = quantile;
      clip.examples = examples;
      Bound plain(clip, norms), noisy(clip, norms);
      const Gaussian noise(Gaussian::Where::central, clip, 2, {});
      for (int t = 0; t < 600; ++t) {
        plain.step();
        noisy.step(&noise);
      }
      EXPECT_NEAR(plain.share(), quantile, 0.005) << quantile << " " << examples;
      // The noise of the share is 2 / (2 sqrt(0.0025) users) = 0.005, or 0.02 with 1000 users;
      // what is left of it in the bound is less, as many steps share it.
      EXPECT_NEAR(noisy.share(), quantile, 0.03) << quantile << " " << examples;
    }
  }
}

}  // namespace
}  // namespace sheaf::privacy
