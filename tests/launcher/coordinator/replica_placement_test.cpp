#include "launcher/coordinator/replica_placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sheaf::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

ReplicaPlacement placed(const std::vector<std::string>& hosts) {
  std::vector<wire::ProcessInfo> servers;
  for (const std::string& host : hosts) {
    wire::ProcessInfo& server = servers.emplace_back();
    server.process = {Role::server, static_cast<std::uint32_t>(servers.size() - 1)};
    server.host_id = host;
  }
  return place_replicas(servers);
}

TEST(ReplicaPlacementTest, IsOnTheNextServerOfAnotherHost) {
  const ReplicaPlacement round = placed({"a", "b", "c"});
  EXPECT_THAT(round.backups, ElementsAre(1, 2, 0));
  EXPECT_THAT(round.warning, IsEmpty());
  const ReplicaPlacement pairs = placed({"a", "a", "b", "b"});
  EXPECT_THAT(pairs.backups, ElementsAre(2, 2, 0, 0));
  EXPECT_THAT(pairs.warning, IsEmpty());
}

TEST(ReplicaPlacementTest, OnOneHostItIsTheNextOneAndSaid) {
  const ReplicaPlacement one = placed({"a", "a", "a"});
  EXPECT_THAT(one.backups, ElementsAre(1, 2, 0));
  EXPECT_THAT(one.warning, HasSubstr("server 0, 1, 2 is on the same host"));
}

}  // namespace
}  // namespace sheaf::launcher
