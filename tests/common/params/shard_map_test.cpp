#include "common/params/shard_map.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <vector>

namespace sheaf::params {
namespace {

using testing::Each;
using testing::ElementsAre;

Layout equal_tensors(std::size_t count) {
  Layout layout;
  for (std::size_t i = 0; i < count; ++i) layout.add("t" + std::to_string(i), {16}, {});
  return layout;
}

TEST(ShardMapTest, EveryChunkHasOneLaneAndBothSidesAgree) {
  const Layout layout = equal_tensors(23);
  const ChunkMap chunks(layout, 64);
  for (std::uint32_t servers = 1; servers <= 4; ++servers) {
    for (std::uint32_t lanes = 1; lanes <= 3; ++lanes) {
      const ShardMap shards(chunks, servers, lanes);
      std::vector<int> seen(chunks.size());
      for (std::uint32_t s = 0; s < servers; ++s) {
        for (std::uint32_t l = 0; l < lanes; ++l) {
          const auto& held = shards.chunks_of({s, l});
          EXPECT_TRUE(std::ranges::is_sorted(held));
          for (const std::uint32_t chunk : held) {
            ++seen[chunk];
            EXPECT_EQ(shards.at(chunk), (LaneId{s, l}));
          }
        }
      }
      EXPECT_THAT(seen, Each(1));
    }
  }
}

// Equal chunks are dealt out in turn, from the last one on, to servers first and then to lanes.
TEST(ShardMapTest, EqualChunksAreDealtOutInTurn) {
  const Layout layout = equal_tensors(8);
  const ChunkMap chunks(layout, 64);
  const ShardMap shards(chunks, 2, 2);
  EXPECT_THAT(shards.chunks_of({0, 0}), ElementsAre(3, 7));
  EXPECT_THAT(shards.chunks_of({1, 0}), ElementsAre(2, 6));
  EXPECT_THAT(shards.chunks_of({0, 1}), ElementsAre(1, 5));
  EXPECT_THAT(shards.chunks_of({1, 1}), ElementsAre(0, 4));
}

TEST(ShardMapTest, WithMoreLanesThanChunksSomeStayIdle) {
  const Layout layout = equal_tensors(2);
  const ChunkMap chunks(layout, 64);
  const ShardMap shards(chunks, 3, 2);
  std::size_t idle = 0;
  for (std::uint32_t s = 0; s < 3; ++s) {
    for (std::uint32_t l = 0; l < 2; ++l) idle += shards.chunks_of({s, l}).empty() ? 1U : 0U;
  }
  EXPECT_EQ(idle, 4U);
}

}  // namespace
}  // namespace sheaf::params
