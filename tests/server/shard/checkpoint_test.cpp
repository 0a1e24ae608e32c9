// What a shard hands over for a checkpoint and when, and that a shard restored from it goes on as
// if nothing had happened. The optimizer is plain descent at rate 1, whose state counts steps:
// every value is worked out by hand.
#include <gmock/gmock.h>

#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using testing::Each;
using testing::IsEmpty;
using testing::SizeIs;

// All partitions push `value`: the chunk loses it, as the mean over the examples.
void take_step(ShardJob& job, Step step, std::uint32_t chunk, float value) {
  for (std::uint32_t p = 0; p < 4; ++p) job.push(step, chunk, {p, 1}, value);
}

TEST(ShardCheckpointTest, AChunkIsHandedOverWhenItIsAtTheVersion) {
  ShardJob job({.tensors = {16, 16}});
  job.init_all(10);
  EXPECT_TRUE(job.shard().checkpoint_at(2));
  for (Step step = 0; step < 4; ++step) {
    take_step(job, step, 0, 1);
    EXPECT_THAT(job.saved, SizeIs(step >= 1 ? 1 : 0));
  }
  const ShardJob::Saved& saved = job.saved.front();
  EXPECT_EQ(saved.version, 2);
  EXPECT_EQ(saved.chunk, 0);
  EXPECT_THAT(std::span(saved.values).first(16), Each(8.0F));    // 10 - 2 steps of 1
  EXPECT_THAT(std::span(saved.values).subspan(16), Each(2.0F));  // steps, as the state counts them
  EXPECT_THAT(saved.values, SizeIs(32));
}

TEST(ShardCheckpointTest, TheFirstValuesAreAVersionToo) {
  ShardJob job({.tensors = {16}});
  EXPECT_TRUE(job.shard().checkpoint_at(0));
  EXPECT_THAT(job.saved, IsEmpty());
  job.init_all(3);
  ASSERT_THAT(job.saved, SizeIs(1));
  EXPECT_THAT(std::span(job.saved[0].values).first(16), Each(3.0F));
}

TEST(ShardCheckpointTest, WithoutRoomAChunkStaysAtItsVersion) {
  for (const double clip : {0.0, 1e9}) {
    ShardJob job({.tensors = {16}, .clip_norm = clip});
    job.init_all(10);
    job.rooms = 0;
    EXPECT_TRUE(job.shard().checkpoint_at(1));
    take_step(job, 0, 0, 1);
    take_step(job, 1, 0, 1);
    EXPECT_THAT(job.parameters(2, 0), IsEmpty());  // the pull waits
    EXPECT_THAT(job.parameters(1, 0), Each(9.0F));
    EXPECT_EQ(job.shard().waiting_for().text, "the checkpoint of step 1 waits for the disk");
    job.shard().on_room();  // a false alarm
    EXPECT_THAT(job.saved, IsEmpty());
    job.rooms = 1;
    job.replies.clear();
    job.shard().on_room();
    ASSERT_THAT(job.saved, SizeIs(1));
    EXPECT_EQ(job.saved[0].version, 1);
    EXPECT_THAT(std::span(job.saved[0].values).first(16), Each(9.0F));
    ASSERT_THAT(job.replies, SizeIs(1));  // the pull that waited
    EXPECT_THAT(job.replies[0].floats(), Each(8.0F));
  }
}

// Room came, and another checkpoint was ordered before on_room() could say so.
TEST(ShardCheckpointTest, AChunkThatWaitedForRoomGoesOnWhenTheNextCheckpointIsOrdered) {
  ShardJob job({.tensors = {16}});
  job.init_all(10);
  job.rooms = 0;
  EXPECT_TRUE(job.shard().checkpoint_at(1));
  take_step(job, 0, 0, 1);
  take_step(job, 1, 0, 1);
  job.rooms = 1;
  EXPECT_TRUE(job.shard().checkpoint_at(5));
  ASSERT_THAT(job.saved, SizeIs(1));
  EXPECT_EQ(job.saved[0].version, 1);
  EXPECT_THAT(job.parameters(2, 0), Each(8.0F));
}

TEST(ShardCheckpointTest, AVersionThatAChunkHasPassedIsRefusedAndNothingHandedOver) {
  ShardJob job({.tensors = {16, 16}});
  job.init_all(10);
  for (const Step step : {0U, 1U}) take_step(job, step, 1, 1);
  EXPECT_FALSE(job.shard().checkpoint_at(1));
  take_step(job, 0, 0, 1);
  EXPECT_THAT(job.saved, IsEmpty());
  EXPECT_TRUE(job.shard().checkpoint_at(2));
}

// Of both parities of the version, into shards that hold other chunks than those that were saved.
TEST(ShardCheckpointTest, RestoredShardsGoOnAsTheOthersWouldHave) {
  for (const Version version : {3U, 4U}) {
    ShardJob before({.tensors = {16, 16, 16}});
    before.init_all(10);
    EXPECT_TRUE(before.shard().checkpoint_at(version));
    for (Step step = 0; step < version; ++step) {
      for (std::uint32_t c = 0; c < 3; ++c) take_step(before, step, c, 1);
    }
    ASSERT_THAT(before.saved, SizeIs(3));

    ShardJob after({.tensors = {16, 16, 16}, .servers = 2, .lanes = 2});
    for (std::size_t lane = 0; lane < after.lane_count(); ++lane) {
      const auto read = [&](const params::Chunk& chunk, std::span<float> parameters,
                            std::span<float> state) {
        const auto& values = before.saved.at(chunk.offset / 16).values;
        EXPECT_EQ(before.saved.at(chunk.offset / 16).chunk, chunk.offset / 16);
        std::ranges::copy(std::span(values).first(16), parameters.begin());
        std::ranges::copy(std::span(values).subspan(16), state.begin());
      };
      std::size_t n = 0;
      while (after.shard(lane).restore(version, n, read)) ++n;
    }
    for (std::uint32_t c = 0; c < 3; ++c) {
      EXPECT_THAT(after.parameters(version, c), Each(10.0F - static_cast<float>(version)));
      EXPECT_TRUE(after.holder(c).checkpoint_at(version + 1));
      take_step(after, version, c, 0.5F);
      EXPECT_THAT(after.parameters(version + 1, c), Each(9.5F - static_cast<float>(version)));
      EXPECT_THAT(std::span(after.saved.back().values).subspan(16),
                  Each(static_cast<float>(version) + 1));
    }
  }
}

// A job that goes on from its first version: a worker that sends first values, and then a push,
// before a chunk is read. What it was told is here stays here.
TEST(ShardCheckpointTest, FirstValuesMayComeBeforeTheCheckpointOfStepZero) {
  ShardJob job({.tensors = {16}});
  job.init_all(10);
  job.push(0, 0, {0, 1}, 1);
  const auto read = [](const params::Chunk&, std::span<float> parameters, std::span<float> state) {
    std::ranges::fill(parameters, 10.0F);
    std::ranges::fill(state, 0.0F);
  };
  EXPECT_TRUE(job.shard().restore(0, 0, read));
  EXPECT_EQ(job.shard().clock(0), 1U);
  for (std::uint32_t p = 1; p < 4; ++p) job.push(0, 0, {p, 1}, 1);
  EXPECT_THAT(job.parameters(1, 0), Each(9.0F));
}

}  // namespace
}  // namespace sheaf::server
