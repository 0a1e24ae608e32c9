// The normal mechanism has M(z) = e^(z (z + 1) / 2 s^2); sampled ones have M(1) = 1 + q^2
// (e^(1/s^2)
// - 1) and, whatever they are, M(0) = 1.
#include "common/privacy/accounting/loss_transform.h"

#include <gmock/gmock.h>

#include <cmath>

#include "common/privacy/accounting/composition.h"
#include "common/privacy/accounting/fourier.h"

namespace sheaf::privacy {
namespace {

TEST(LossTransform, KnowsTheNormalMechanism) {
  for (const double noise : {0.1, 1.0, 40.0}) {
    const LossTransform transform(PrivacyLoss(1, noise, Direction::remove));
    const double scale = 1 / (2 * noise * noise);
    for (const double a : {0.0, 0.5, 3.0, 60.0}) {
      const Cumulants k = transform.at(a);
      EXPECT_NEAR(k.value, a * (a + 1) * scale, 2e-13 * (1 + std::abs(k.value)));
      EXPECT_NEAR(k.first, (2 * a + 1) * scale, 1e-11 * (1 + k.first));
      EXPECT_NEAR(k.second, 2 * scale, 1e-10 * (1 + k.first * k.first));
    }
    std::vector<std::complex<double>> line(300);
    const double spacing = 0.05 * noise;
    transform.along_line(2, 7, spacing, line);
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::complex<double> z(2, static_cast<double>(i + 7) * spacing);
      const std::complex<double> exact = std::exp(z * (z + 1.0) * scale);
      // Relative to M on the real line, whose terms cancel.
      const double size = std::exp(6 * scale);
      EXPECT_LT(std::abs(std::exp(line[i]) - exact), 1e-12 * size) << noise << " " << i;
    }
  }
}

TEST(LossTransform, KnowsTwoMomentsOfASampledStep) {
  for (const double q : {1e-6, 0.01, 0.5, 0.999}) {
    for (const double noise : {0.25, 1.0, 10.0}) {
      const LossTransform remove(PrivacyLoss(q, noise, Direction::remove));
      const double moment = std::log1p(q * q * std::expm1(1 / (noise * noise)));
      EXPECT_NEAR(remove.at(1).value, moment, 1e-13 + 1e-12 * moment) << q << " " << noise;
      for (const Direction d : {Direction::remove, Direction::add, Direction::replace}) {
        EXPECT_NEAR(LossTransform(PrivacyLoss(q, noise, d)).at(0).value, 0, 1e-13);
      }
    }
  }
}

TEST(LossTransform, AgreesWithPlainSummation) {
  const double q = 0.07, noise = 0.6;
  for (const Direction d : {Direction::remove, Direction::add, Direction::replace}) {
    const PrivacyLoss loss(q, noise, d);
    const double a = 2.5, t = 4;
    std::complex<double> sum = 0;
    for (double x = -12; x < 12; x += 1e-3) {
      sum +=
          std::exp(std::complex<double>(loss.log_density(x) + a * loss.loss(x), t * loss.loss(x))) *
          1e-3;
    }
    std::vector<std::complex<double>> line(1);
    LossTransform(loss).along_line(a, 4, t / 4, line);
    EXPECT_LT(std::abs(std::exp(line[0]) / sum - 1.0), 1e-12);
  }
}

// Fading changes nothing but what has no probability: the normal mechanism again, whose tilted
// density lies at a + 1.
TEST(LossTransform, FadesOutWhatHasNoProbability) {
  const PrivacyLoss loss(1, 1, Direction::remove);
  const double limit = LossTransform::limit(loss, 1e-30);
  EXPECT_LT(loss.mass_p(limit - 2, INFINITY), 1e-20);
  const LossTransform faded(loss, limit);
  for (const double a : {0.5, 2.0}) EXPECT_NEAR(faded.at(a).value, a * (a + 1) / 2, 1e-12);
  EXPECT_LT(faded.at(20).value, 20 * 21 / 2.0 - 20);
}

TEST(Composition, ChernoffIsABound) {
  const GaussianSteps steps{1, 2, 1};
  const Composition composition({&steps, 1}, Direction::remove, 1e-5);
  for (double a = 0.1; a < 30; a *= 1.5) {
    EXPECT_GT(composition.log_chernoff(a, 1.9930914044), std::log(1e-5)) << a;  // its delta
  }
}

TEST(Composition, SaddlePointIsNear) {
  const GaussianSteps steps{0.04, 1.5, 2250};
  EXPECT_NEAR(Composition({&steps, 1}, Direction::remove, 1e-5).saddle().epsilon, 6.76878, 0.01);
}

TEST(Fourier, AgreesWithTheSum) {
  std::vector<std::complex<double>> values;
  for (int j = 0; j < 64; ++j) values.emplace_back(std::sin(j * j), std::cos(3.0 * j));
  std::vector<std::complex<double>> transformed = values;
  fourier(transformed);
  for (int k = 0; k < 64; ++k) {
    std::complex<double> sum = 0;
    for (int j = 0; j < 64; ++j) {
      sum += values[static_cast<std::size_t>(j)] * std::polar(1.0, -2 * M_PI * j * k / 64);
    }
    EXPECT_LT(std::abs(sum - transformed[static_cast<std::size_t>(k)]), 1e-12);
  }
}

}  // namespace
}  // namespace sheaf::privacy
