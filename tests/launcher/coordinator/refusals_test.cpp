#include "launcher/coordinator/refusals.h"

#include <gmock/gmock.h>

#include <set>

namespace sheaf::launcher {
namespace {

TEST(RefusalsTest, AWarningForEveryPowerOfTwo) {
  const std::set<int> powers = {1, 2, 4, 8, 16, 32};
  Refusals refusals;
  for (int i = 1; i <= 40; ++i) {
    const auto warning = refusals.add("wrong key " + std::to_string(i));
    ASSERT_EQ(warning.has_value(), powers.contains(i)) << i;
    if (!warning) continue;
    EXPECT_EQ(*warning, "warning: refused a connection to the coordinator: wrong key " +
                            std::to_string(i) + " (x" + std::to_string(i) + ")");
  }
}

TEST(RefusalsTest, TheClauseCountsThemAndNamesTheLast) {
  Refusals refusals;
  EXPECT_EQ(refusals.clause(), "");
  refusals.add("stale");
  EXPECT_EQ(refusals.clause(), "; 1 connection was refused, the last one: stale");
  refusals.add("no frame");
  EXPECT_EQ(refusals.clause(), "; 2 connections were refused, the last one: no frame");
}

}  // namespace
}  // namespace sheaf::launcher
