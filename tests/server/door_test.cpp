#include "server/door.h"

#include <gtest/gtest.h>

namespace sheaf::server {
namespace {

using enum wire::Verdict;

wire::Identity identity(Role role, std::uint32_t id, std::uint32_t incarnation = 0) {
  wire::Identity identity;
  identity.process = {role, id};
  identity.incarnation = incarnation;
  identity.lane = 2;
  return identity;
}

// A server that shares its scalars.
wire::Identity scalars(std::uint32_t id, std::uint32_t incarnation = 0) {
  wire::Identity server = identity(Role::server, id, incarnation);
  server.lane = kScalarLane;
  return server;
}

TEST(DoorTest, OnlyWhoBelongsToTheJobAndMeansThisLaneComesIn) {
  Door door({.lane = 2, .epoch = 0, .servers = 3, .workers = 2});
  EXPECT_EQ(door.admit(identity(Role::worker, 1)), welcome);
  EXPECT_EQ(door.admit(identity(Role::worker, 2)), not_expected);
  EXPECT_EQ(door.admit(scalars(2)), welcome);
  EXPECT_EQ(door.admit(scalars(3)), not_expected);
  EXPECT_EQ(door.admit(identity(Role::server, 2)), not_expected);  // its replica is not here
  EXPECT_EQ(door.admit(identity(Role::coordinator, 0)), not_expected);
  wire::Identity other_lane = identity(Role::worker, 1);
  other_lane.lane = 0;
  EXPECT_EQ(door.admit(other_lane), not_expected);
  wire::Identity other_epoch = identity(Role::worker, 1);
  other_epoch.epoch = 1;
  EXPECT_EQ(door.admit(other_epoch), stale);
}

TEST(DoorTest, WithoutLinksNoServerComesIn) {
  Door door({.lane = 2, .epoch = 0, .servers = 0, .workers = 2});
  EXPECT_EQ(door.admit(scalars(0)), not_expected);
}

TEST(DoorTest, WhoHasBeenReplacedStaysOutside) {
  Door door({.lane = 2, .epoch = 0, .servers = 0, .workers = 2});
  EXPECT_EQ(door.admit(identity(Role::worker, 0, 4)), welcome);
  EXPECT_EQ(door.admit(identity(Role::worker, 0, 4)), welcome);  // its next connection
  EXPECT_EQ(door.admit(identity(Role::worker, 0, 3)), stale);
  EXPECT_EQ(door.admit(identity(Role::worker, 1, 3)), welcome);  // another worker
}

TEST(DoorTest, OfAServerWhoseReplicaIsHereOnlyTheNewestComesIn) {
  Door door({.lane = 2, .epoch = 0, .servers = 0, .workers = 2});
  door.expect_primary(1, 2);
  EXPECT_EQ(door.admit(identity(Role::server, 1, 1)), stale);  // the roster knows a newer one
  EXPECT_EQ(door.admit(identity(Role::server, 1, 3)), welcome);
  EXPECT_EQ(door.admit(identity(Role::server, 1, 4)), welcome);
  EXPECT_EQ(door.admit(identity(Role::server, 1, 3)), stale);
  EXPECT_EQ(door.admit(identity(Role::worker, 1, 3)), welcome);  // another process
  EXPECT_EQ(door.admit(identity(Role::server, 0, 4)), not_expected);
}

TEST(DoorTest, OfAServerThatSharesScalarsOnlyTheNewestComesIn) {
  Door door({.lane = 2, .epoch = 0, .servers = 2, .workers = 2});
  door.expect_primary(1, 0);
  EXPECT_EQ(door.admit(scalars(1, 4)), welcome);
  EXPECT_EQ(door.admit(scalars(1, 4)), welcome);  // its next connection
  EXPECT_EQ(door.admit(scalars(1, 3)), stale);
  EXPECT_EQ(door.admit(identity(Role::server, 1, 3)), stale);  // whatever for
  EXPECT_EQ(door.admit(scalars(0, 3)), welcome);               // another server
}

TEST(DoorTest, AnExpectedSuccessorNeedNotHaveComeYet) {
  Door door({.lane = 2, .epoch = 0, .servers = 0, .workers = 2});
  door.expect(0, 6);
  EXPECT_EQ(door.admit(identity(Role::worker, 0, 5)), stale);
  EXPECT_EQ(door.admit(identity(Role::worker, 0, 6)), welcome);
  EXPECT_EQ(door.admit(identity(Role::worker, 0, 7)), welcome);
  door.expect(0, 6);  // as a late question may say
  EXPECT_EQ(door.admit(identity(Role::worker, 0, 6)), stale);
}

}  // namespace
}  // namespace sheaf::server
