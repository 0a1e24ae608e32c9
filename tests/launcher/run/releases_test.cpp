// Between what servers say that they have released and the ledger.
#include "launcher/run/releases.h"

#include <gmock/gmock.h>

#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/common/privacy/ledger/sample_terms.h"

namespace sheaf::launcher {
namespace {

class ReleasesTest : public testing::Test {
 protected:
  Releases open(Step last) {
    return {disk_,
            {.ledger = "/run/ledger.jsonl",
             .terms = privacy::sample_terms(),
             .epsilon = std::nullopt,
             .chunks = 3,
             .first = 0,
             .last = last}};
  }
  // A server's lane, with as many chunks of the step.
  static bool release(Releases& releases, std::uint32_t server, Step step, std::uint32_t chunks) {
    wire::Released released;
    released.step = step;
    released.chunks = chunks;
    released.digest.assign(4, step + server);
    return releases.on_released({Role::server, server}, released);
  }

  checkpoint::VirtualDisk disk_;
};

TEST_F(ReleasesTest, AStepIsGrantedWhenAllServersHaveReleasedTheOneBefore) {
  Releases releases = open(3);
  EXPECT_EQ(releases.granted(), 1U);
  EXPECT_FALSE(release(releases, 0, 0, 2));
  EXPECT_EQ(releases.granted(), 1U);
  EXPECT_TRUE(release(releases, 1, 0, 1));
  EXPECT_EQ(releases.granted(), 2U);
  EXPECT_FALSE(release(releases, 1, 0, 1)) << "again, of a step that is done";
  EXPECT_EQ(releases.ledger().releases(0), 2U);
}

// The last step has no step behind it that would be granted.
TEST_F(ReleasesTest, WhatIsSaidTwiceOfTheLastStepIsDoneOnce) {
  Releases releases = open(1);
  EXPECT_FALSE(release(releases, 0, 0, 3));
  EXPECT_FALSE(release(releases, 0, 0, 3));
  EXPECT_EQ(releases.granted(), 1U);
  EXPECT_EQ(releases.ledger().releases(0), 1U);
}

}  // namespace
}  // namespace sheaf::launcher
