#include "common/privacy/accounting/privacy_loss.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sheaf::privacy {
namespace {

constexpr Direction kDirections[] = {Direction::remove, Direction::add, Direction::replace};

double normal_density(double x, double mean, double noise) {
  const double z = (x - mean) / noise;
  return std::exp(-0.5 * z * z) / (noise * std::sqrt(2 * std::numbers::pi));
}

TEST(PrivacyLoss, IsTheLogarithmOfTheRatioOfBothDensities) {
  const double q = 0.3, noise = 0.7;
  for (double x = -4; x <= 4; x += 0.25) {
    const double out = normal_density(x, 0, noise);
    const double in = (1 - q) * out + q * normal_density(x, 1, noise);
    const double other = (1 - q) * out + q * normal_density(x, -1, noise);
    const PrivacyLoss remove(q, noise, Direction::remove), add(q, noise, Direction::add),
        replace(q, noise, Direction::replace);
    EXPECT_NEAR(remove.loss(x), std::log(in / out), 1e-12);
    EXPECT_NEAR(add.loss(x), std::log(out / in), 1e-12);
    EXPECT_NEAR(replace.loss(x), std::log(in / other), 1e-12);
    EXPECT_NEAR(remove.log_density(x), std::log(in), 1e-12);
    EXPECT_NEAR(add.log_density(x), std::log(out), 1e-12);
    EXPECT_NEAR(replace.log_density(x), std::log(in), 1e-12);
  }
}

TEST(PrivacyLoss, FindsThePointOfALoss) {
  for (const Direction direction : kDirections) {
    for (const double q : {1e-6, 0.01, 0.6, 1.0}) {
      for (const double noise : {0.3, 1.0, 20.0}) {
        const PrivacyLoss loss(q, noise, direction);
        for (double x = -2 * noise; x <= 8 * noise; x += 0.7 * noise) {
          const double found = loss.loss(loss.point(loss.loss(x)));
          EXPECT_NEAR(found, loss.loss(x), 1e-12 * (1 + std::abs(found)));
        }
      }
    }
  }
  // Where no x has that loss: below log(1 - q) of the one, above -log(1 - q) of the other.
  EXPECT_EQ(PrivacyLoss(0.1, 1, Direction::remove).point(-0.2), -INFINITY);
  EXPECT_EQ(PrivacyLoss(0.1, 1, Direction::add).point(0.2), -INFINITY);
}

TEST(PrivacyLoss, SlopeIsTheDerivative) {
  for (const Direction direction : kDirections) {
    const PrivacyLoss loss(0.2, 0.8, direction);
    for (double x = -3; x <= 3; x += 0.5) {
      const double difference = (loss.loss(x + 1e-5) - loss.loss(x - 1e-5)) / 2e-5;
      EXPECT_NEAR(loss.slope(x), std::abs(difference), 1e-8);
    }
  }
}

TEST(PrivacyLoss, MassesKeepTheirDigitsInBothTails) {
  const PrivacyLoss loss(0.25, 1, Direction::replace);
  EXPECT_NEAR(loss.mass_p(-INFINITY, INFINITY), 1, 1e-15);
  EXPECT_NEAR(loss.mass_q(-INFINITY, INFINITY), 1, 1e-15);
  // Mirror images of each other; the tail of a normal beyond 12 is 1.776482112077679e-33.
  EXPECT_DOUBLE_EQ(loss.mass_p(12, 13), loss.mass_q(-13, -12));
  EXPECT_NEAR(PrivacyLoss(1, 1, Direction::add).mass_p(12, INFINITY) / 1.776482112077679e-33, 1,
              1e-12);
}

TEST(PrivacyLoss, TotalVariationIsTheDivergenceAtNought) {
  for (const Direction direction : kDirections) {
    const PrivacyLoss loss(0.2, 0.8, direction);
    const double x = loss.point(0);
    const double above = loss.mass_p(x, INFINITY) - loss.mass_q(x, INFINITY);
    EXPECT_NEAR(loss.total_variation(), std::abs(above), 1e-15);
  }
}

// What the header proves about the pair of `replace`, on pairs of gradients in the plane: whatever
// the two are, the divergence of one step is at most that of opposite ones of full norm.
TEST(PrivacyLoss, OppositeGradientsAreTheWorstReplacement) {
  const double q = 0.35, noise = 0.8, step = 0.04, edge = 6;
  const PrivacyLoss worst(q, noise, Direction::replace);
  const double pairs[][4] = {{1, 0, -1, 0}, {1, 0, 0, 1},    {1, 0, -0.6, 0.8}, {1, 0, 0, 0},
                             {0, 0, 1, 0},  {0.5, 0, -1, 0}, {1, 0, 0.8, -0.6}, {0.3, 0, -0.3, 0}};
  for (const double epsilon : {-0.4, 0.0, 0.3, 1.0}) {
    const double x = worst.point(epsilon);
    const double bound = worst.mass_p(x, INFINITY) - std::exp(epsilon) * worst.mass_q(x, INFINITY);
    for (const auto& [g0, g1, h0, h1] : pairs) {
      double divergence = 0;
      for (double u = -edge; u <= edge; u += step) {
        for (double v = -edge; v <= edge; v += step) {
          const auto density = [&](double m0, double m1) {
            return normal_density(u, m0, noise) * normal_density(v, m1, noise);
          };
          const double out = (1 - q) * density(0, 0);
          divergence += std::max(
              0.0, out + q * density(g0, g1) - std::exp(epsilon) * (out + q * density(h0, h1)));
        }
      }
      EXPECT_LE(divergence * step * step, bound + 2e-4) << epsilon << " " << h0 << " " << h1;
      if (h0 == -1 && g0 == 1) {
        EXPECT_NEAR(divergence * step * step, bound, 2e-4);
      }
    }
  }
}

}  // namespace
}  // namespace sheaf::privacy
