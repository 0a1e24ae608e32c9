// Where a worker's memory lies: its own, or such that other processes of the host find it, for
// which a second client of the keeper stands.
#include "worker/client/exchange_memory.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "common/base/error.h"

namespace sheaf::worker {
namespace {

using testing::Each;
using testing::HasSubstr;
using Access = net::SharedMemory::Access;

constexpr Duration kLimit = std::chrono::seconds(10);
constexpr std::size_t kPage = 4096;
constexpr std::uint32_t kParameters = 3000;      // as floats they do not fill their last page
constexpr std::size_t kVectorFloats = 3 * 1024;  // their pages
constexpr std::size_t kWorkspaceBytes = 5000;    // two pages

params::Layout layout() {
  params::Layout layout;
  layout.add("weight", {kParameters}, {});
  return layout;
}

net::Credentials worker_3() {
  wire::Identity self;
  self.process = {Role::worker, 3};
  self.incarnation = 2;
  return {wire::JobKey(), self};
}

class ExchangeMemoryTest : public testing::Test {
 protected:
  // The floats of a chunk, as the offsets of the chunk say.
  std::span<const float> chunk_of(std::span<const float> vector, std::uint32_t chunk) const {
    return vector.subspan(chunks_[chunk].offset, chunks_[chunk].size);
  }

  params::ChunkMap chunks_{layout(), 4096};  // of 1024 floats at most: three
  params::ShardMap shards_{chunks_, 2, 1};
  std::string warning_ = "none";
  ExchangeMemory memory_{{.workspaces = 2,
                          .workspace_bytes = kWorkspaceBytes,
                          .warn = [this](const std::string& text) { warning_ = text; }},
                         chunks_,
                         shards_};
  net::Credentials self_ = worker_3();
  std::unique_ptr<cluster::Keeper> keeper_ = cluster::Keeper::start(self_, kLimit);
  cluster::KeeperClient mine_{self_, kLimit};
  cluster::KeeperClient lanes_{self_, kLimit};
};

TEST_F(ExchangeMemoryTest, WithoutAKeeperAllOfItIsTheWorkersOwn) {
  EXPECT_FALSE(memory_.shared());
  memory_.place(false);
  const auto first = memory_.workspace(0);
  const auto second = memory_.workspace(1);
  EXPECT_EQ(first.size(), kWorkspaceBytes);
  EXPECT_EQ(second.data() - first.data(), 2 * std::ptrdiff_t{kPage});
  EXPECT_FALSE(memory_.seen_at(first));
  EXPECT_NE(memory_.parameters(0).data(), memory_.parameters(1).data());
  EXPECT_EQ(memory_.parameters(0).data(), memory_.parameters(2).data());
  for (std::uint32_t chunk = 0; chunk < chunks_.size(); ++chunk) {
    std::ranges::fill(memory_.own(chunk, 7), static_cast<float>(chunk));
  }
  for (std::uint32_t chunk = 0; chunk < chunks_.size(); ++chunk) {
    EXPECT_THAT(chunk_of(memory_.parameters(7), chunk), Each(static_cast<float>(chunk)));
  }
}

TEST_F(ExchangeMemoryTest, LanesOfTheHostFindWhatIsPushed) {
  memory_.share(mine_, self_.self);
  ASSERT_TRUE(memory_.shared()) << warning_;
  memory_.place(true);
  const auto seen = lanes_.memory(cluster::outgoing_name(3, 2), 4 * kPage, Access::read);
  const auto payload = memory_.workspace(1).subspan(100, 8);
  std::ranges::fill(payload, std::byte{0x5A});
  ASSERT_EQ(memory_.seen_at(payload), 2 * kPage + 100);
  EXPECT_THAT(seen.bytes().subspan(2 * kPage + 100, 8), Each(std::byte{0x5A}));
  const std::vector<std::byte> elsewhere(8);
  EXPECT_FALSE(memory_.seen_at(elsewhere));
}

TEST_F(ExchangeMemoryTest, ParametersAreReadWhereTheServersWriteThem) {
  memory_.share(mine_, self_.self);
  memory_.place(true);
  const auto written =
      lanes_.memory(cluster::parameters_name(), 2 * kVectorFloats * sizeof(float), Access::write);
  std::ranges::fill(written.floats().subspan(kVectorFloats, kParameters), 1.5F);
  EXPECT_TRUE(memory_.own(0, 1).empty());
  EXPECT_EQ(memory_.parameters(1).size(), kParameters);
  EXPECT_THAT(memory_.parameters(1), Each(1.5F));
  EXPECT_THAT(memory_.parameters(0), Each(0.0F));
}

// Some servers are elsewhere: what those of this host have written is copied, a chunk at a time.
TEST_F(ExchangeMemoryTest, ParametersAreGatheredIfSomeComeOverTheNetwork) {
  memory_.share(mine_, self_.self);
  memory_.place(false);
  const auto written =
      lanes_.memory(cluster::parameters_name(), 2 * kVectorFloats * sizeof(float), Access::write);
  std::ranges::fill(written.floats().subspan(kVectorFloats, kParameters), 1.5F);
  EXPECT_THAT(memory_.parameters(1), Each(0.0F));
  memory_.gather(1, 1);
  EXPECT_THAT(chunk_of(memory_.parameters(1), 0), Each(0.0F));
  EXPECT_THAT(chunk_of(memory_.parameters(1), 1), Each(1.5F));
  EXPECT_THAT(chunk_of(memory_.parameters(1), 2), Each(0.0F));
  EXPECT_THAT(memory_.parameters(0), Each(0.0F));
}

TEST_F(ExchangeMemoryTest, WhatCannotBeHadIsSaidAndNothingIsShared) {
  lanes_.memory(cluster::parameters_name(), kPage, Access::write);  // of another size
  memory_.share(mine_, self_.self);
  EXPECT_FALSE(memory_.shared());
  EXPECT_THAT(warning_, HasSubstr("it exchanges over the network"));
  memory_.place(false);
  EXPECT_EQ(memory_.workspace(1).size(), kWorkspaceBytes);
  EXPECT_EQ(memory_.parameters(0).size(), kParameters);
}

}  // namespace
}  // namespace sheaf::worker
