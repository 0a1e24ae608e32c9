#include "common/privacy/accounting/renyi.h"

#include <gmock/gmock.h>

#include <cmath>

#include "common/privacy/accounting/loss_transform.h"

namespace sheaf::privacy {
namespace {

double divergence(double q, double noise, double order) {
  return renyi_divergence({q, noise, 1}, order, Adjacency::add_remove);
}

TEST(Renyi, AgreesWithOtherPrograms) {
  // NumPy, 30 digits.
  EXPECT_NEAR(divergence(0.01, 1, 2) / 1.71813422075e-4, 1, 1e-11);
  EXPECT_NEAR(divergence(0.01, 1, 3) / 2.64637574585e-4, 1, 1e-11);
  EXPECT_NEAR(divergence(0.01, 1, 8) / 8.93643907606e-4, 1, 1e-11);
  EXPECT_NEAR(divergence(0.01, 1, 32) / 11.246275937, 1, 1e-10);
  // Google's rdp_privacy_accountant_test, 50 steps, as printed there. (Its values at 1.5 and 2.5
  // are sums of the series without its signs, 3 % and 0.006 % above the divergence.)
  EXPECT_NEAR(50 * divergence(0.01, 2.5, 5) / 2.18075656e-3, 1, 2e-9);
  EXPECT_NEAR(50 * divergence(0.01, 2.5, 50) / 2.38460375e-2, 1, 2e-9);
  EXPECT_NEAR(50 * divergence(0.01, 2.5, 100) / 167.416308, 1, 3e-9);
}

TEST(Renyi, HasClosedForms) {
  EXPECT_DOUBLE_EQ(divergence(1, 3, 7.5), 7.5 / 18);
  for (const double q : {1e-4, 0.1, 0.7}) {
    EXPECT_NEAR(divergence(q, 1.3, 2) / std::log1p(q * q * std::expm1(1 / 1.69)), 1, 1e-11);
  }
  // Another unit without sampling: twice the distance.
  EXPECT_NEAR(renyi_divergence({1, 2, 1}, 5, Adjacency::replace_one), 5 * 4 / 8.0, 1e-12);
}

// The series against quadrature of the same integral, at every order that is tried.
TEST(Renyi, SeriesAgreesWithQuadrature) {
  for (const auto& [q, noise] :
       {std::pair{0.2, 2.0}, {0.01, 2.5}, {0.01, 1.0}, {0.6, 0.8}, {1e-3, 5.0}}) {
    const LossTransform transform(PrivacyLoss(q, noise, Direction::remove));
    for (const double order : renyi_orders()) {
      const double exact = transform.at(order - 1).value / (order - 1);
      EXPECT_NEAR(divergence(q, noise, order), exact, 1e-9 * exact + 1e-12) << q << " " << order;
    }
  }
}

TEST(Renyi, RemovingIsTheWorseDirection) {
  for (const double q : {0.01, 0.5}) {
    const LossTransform add(PrivacyLoss(q, 1, Direction::add));
    for (const double order : {1.1, 2.0, 8.5, 40.0}) {
      EXPECT_GE(divergence(q, 1, order), add.at(order - 1).value / (order - 1))
          << q << " " << order;
    }
  }
}

TEST(Renyi, GrowsWithTheOrder) {
  double before = 0;
  for (const double order : renyi_orders()) {
    const double now = divergence(0.05, 1, order);
    EXPECT_GT(now, before) << order;
    before = now;
  }
}

}  // namespace
}  // namespace sheaf::privacy
