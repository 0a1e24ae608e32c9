// Weights of gradients, by the formulas of the papers that clip.h names.
#include "common/privacy/clip.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/base/random.h"

namespace sheaf::privacy {
namespace {

TEST(Clip, FlatLeavesWhatIsSmallAndShortensTheRest) {
  const Clip clip{ClipKind::flat, 2, 0};
  EXPECT_EQ(clip.weight(0), 1);
  EXPECT_EQ(clip.weight(4), 1);       // a norm of 2
  EXPECT_EQ(clip.weight(64), 0.25F);  // a norm of 8
}

TEST(Clip, AutomaticGivesEveryGradientNearlyTheSameNorm) {
  const Clip clip{ClipKind::automatic, 2, 0.5};
  EXPECT_EQ(clip.weight(0), 4);         // 2 / 0.5
  EXPECT_EQ(clip.weight(2.25), 1);      // 2 / (1.5 + 0.5)
  EXPECT_EQ(clip.weight(12.25), 0.5F);  // 2 / (3.5 + 0.5)
}

TEST(Clip, WhatIsNotFiniteHasNoWeight) {
  for (const ClipKind kind : {ClipKind::flat, ClipKind::automatic}) {
    const Clip clip{kind, 1, 0.01};
    EXPECT_EQ(clip.weight(std::numeric_limits<double>::infinity()), 0);
    EXPECT_EQ(clip.weight(std::numeric_limits<double>::quiet_NaN()), 0);
  }
}

TEST(Clip, NoWeightTakesANormAboveTheBound) {
  Stream stream(5, Purpose::test);
  for (int i = 0; i < 10'000; ++i) {
    const Clip clip{i % 2 == 0 ? ClipKind::flat : ClipKind::automatic,
                    std::exp(4 * stream.normal()), std::exp(4 * stream.normal())};
    const double squares = std::exp(20 * stream.normal());
    EXPECT_LE(static_cast<double>(clip.weight(squares)) * std::sqrt(squares),
              clip.norm * (1 + 1e-15));
  }
}

// Of a user with m examples in a sum, each may have an m-th of the norm.
TEST(Clip, SharesTheNormOfAUserOutAmongTheExamples) {
  const Clip flat{ClipKind::flat, 2, 0, 4}, automatic{ClipKind::automatic, 2, 0.5, 4};
  EXPECT_EQ(flat.weight(0.25), 1);           // a norm of 0.5 = 2 / 4
  EXPECT_EQ(flat.weight(4), 0.25F);          // 0.5 / 2
  EXPECT_EQ(automatic.weight(0), 1);         // 0.5 / 0.5
  EXPECT_EQ(automatic.weight(2.25), 0.25F);  // 0.5 / (1.5 + 0.5)
}

}  // namespace
}  // namespace sheaf::privacy
