// How often a job that loses processes is started again: expected values are those that the header
// promises.
#include "launcher/coordinator/restarts.h"

#include <gtest/gtest.h>

namespace sheaf::launcher {
namespace {

using std::chrono::seconds;

TEST(RestartsTest, TheFirstGoesAtOnceAndEachFurtherOneWaitsTwiceAsLong) {
  Restarts restarts(10);
  EXPECT_EQ(restarts.next(5), Duration{0});
  for (const int pause : {1, 2, 4, 8, 16, 32, 60, 60, 60}) {
    EXPECT_EQ(restarts.next(5), Duration{seconds(pause)});
  }
  EXPECT_EQ(restarts.next(5), std::nullopt);
  EXPECT_EQ(restarts.in_a_row(), 10);
}

TEST(RestartsTest, ANewerCheckpointBeginsANewRow) {
  Restarts restarts(2);
  for (const Step newest : {0U, 7U, 8U}) {
    EXPECT_EQ(restarts.next(newest), Duration{0});
    EXPECT_EQ(restarts.next(newest), Duration{seconds(1)});
  }
  EXPECT_EQ(restarts.next(8), std::nullopt);
}

TEST(RestartsTest, AJobWithoutACheckpointHasItsRowToo) {
  Restarts restarts(1);
  EXPECT_EQ(restarts.next(std::nullopt), Duration{0});
  EXPECT_EQ(restarts.next(std::nullopt), std::nullopt);
  EXPECT_EQ(restarts.next(0), Duration{0});
}

TEST(RestartsTest, ThereMayBeNone) { EXPECT_EQ(Restarts(0).next(3), std::nullopt); }

}  // namespace
}  // namespace sheaf::launcher
