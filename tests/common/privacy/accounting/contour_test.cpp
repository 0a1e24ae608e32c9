#include "common/privacy/accounting/contour.h"

#include <gmock/gmock.h>

#include "common/privacy/accounting/loss_grid.h"
#include "tests/common/privacy/accounting/reference_rows.h"

namespace sheaf::privacy {
namespace {

double contour(const GaussianSteps& steps, Direction direction, double delta) {
  return epsilon_by_contour(Composition({&steps, 1}, direction, delta)).value().epsilon;
}

// A contour integral in NumPy.
TEST(Contour, AgreesInTheOtherDirection) {
  EXPECT_NEAR(contour({0.04, 1.5, 2250}, Direction::add, 1e-5), 6.1785526461, 1e-9);
  EXPECT_NEAR(contour({256.0 / 60000, 1.1, 14062}, Direction::add, 1e-5), 2.2435593728, 1e-9);
  EXPECT_NEAR(contour({0.01, 1.0, 4000}, Direction::add, 1e-5), 3.2366019701, 1e-9);
  EXPECT_NEAR(contour({0.2, 2.0, 100}, Direction::add, 1e-6), 4.5040513562, 1e-9);
}

// The grid shares the Chernoff bounds with it, and nothing of the integral.
TEST(Contour, LiesWithinTheErrorOfTheGridInAllDirections) {
  for (const ReferenceRow& row : kReference) {
    if (row.steps.count > 100) continue;  // a grid takes time
    for (const Direction direction : {Direction::remove, Direction::add, Direction::replace}) {
      const Composition steps({&row.steps, 1}, direction, row.delta);
      const TightEpsilon exact = epsilon_by_contour(steps).value();
      const TightEpsilon grid = epsilon_by_grid(steps).value();
      EXPECT_LE(exact.epsilon - exact.error, grid.epsilon) << row.name;
      EXPECT_GE(exact.epsilon, grid.epsilon - grid.error) << row.name;
      EXPECT_LT(grid.error, 1e-4) << row.name;
    }
  }
}

TEST(Contour, LeavesAFewStepsOfRareUnitsToTheGrid) {
  const GaussianSteps steps{1e-4, 1, 3};
  EXPECT_FALSE(epsilon_by_contour(Composition({&steps, 1}, Direction::remove, 1e-6)));
}

TEST(Contour, KnowsEpsilonsOfNought) {
  const GaussianSteps steps{0.01, 1, 1000};
  EXPECT_EQ(contour(steps, Direction::remove, 0.5), 0);
  EXPECT_GT(contour(steps, Direction::remove, 1e-100), 20);
}

}  // namespace
}  // namespace sheaf::privacy
