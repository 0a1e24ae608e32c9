// A shard where each push is a step by itself. The optimizer is plain descent at rate 1 whose state
// counts steps, so that every value is worked out by hand: a push of `v` over `n` examples takes
// v / n from the chunk.
#include <gmock/gmock.h>

#include <functional>

#include "common/base/error.h"
#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using wire::FrameType;
using wire::PushStatus;

ShardJobOptions with_gate(std::string gate, std::string keys = "") {
  ShardJobOptions options;
  options.tensors = {16};
  options.partitions = 3;
  options.connections = 3;
  options.gate = std::move(gate);
  options.gate_keys = std::move(keys);
  return options;
}

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::network) << error.message();
    return error.message();
  }
  ADD_FAILURE() << "was accepted";
  return {};
}

TEST(AsynchronousShard, EachPushIsAStepOfItsOwn) {
  ShardJob job(with_gate("asp"));
  job.init_all(10);
  job.push(0, 0, {1, 1}, 4.0F, 2);
  EXPECT_THAT(job.parameters(0, 0), Each(8.0F));
  EXPECT_EQ(job.replies.back().header.step, 0U);   // the clock that was asked for
  EXPECT_EQ(job.replies.back().header.value, 1U);  // the version that came
  job.push(0, 0, {0, 1}, 3.0F, 1);
  job.push(1, 0, {1, 1}, 1.0F, 1);
  EXPECT_THAT(job.parameters(1, 0), Each(4.0F));
  EXPECT_EQ(job.replies.back().header.value, 3U);
  EXPECT_EQ(job.shard().step(), 0U);  // partition 2 has not begun
  const auto& calls = job.optimizer().calls;
  ASSERT_THAT(calls, SizeIs(3));
  EXPECT_EQ(calls[2].step.step, 2U);  // of the optimizer
}

TEST(AsynchronousShard, ARepeatedPushCountsOnceHoweverOldItIs) {
  ShardJob job(with_gate("asp"));
  job.init_all(10);
  for (const Step step : {0U, 0U, 1U, 0U, 1U, 2U, 0U}) job.push(step, 0, {2, 1}, 1.0F);
  EXPECT_THAT(job.parameters(0, 0), Each(7.0F));
  EXPECT_EQ(job.shard().duplicates(), 4U);
}

TEST(AsynchronousShard, AStepBehindAMissingOneIsRefused) {
  ShardJob job(with_gate("asp"));
  job.init_all(10);
  EXPECT_THAT(error_of([&] { job.push(1, 0, {0, 1}, 1.0F); }),
              HasSubstr("push for step 1 of chunk 0, which is at step 0"));
  EXPECT_THAT(error_of([&] { job.end(1, {0, 1}, 0); }), HasSubstr("end of step 1"));
  EXPECT_THAT(error_of([&] { job.push(0, 0, {0, 2}, 1.0F); }), HasSubstr("expected one"));
  EXPECT_THAT(error_of([&] { job.pull(0, 0, 0, {2, 2}); }), HasSubstr("pull for partitions 2..4"));
}

TEST(AsynchronousShard, AStepWithoutExamplesIsAStep) {
  ShardJob job(with_gate("ssp", "staleness = 0"));
  job.init_all(10);
  job.end(0, {0, 1}, 0);
  job.end(0, {0, 1}, 0);
  job.push(0, 0, {1, 1}, 1.0F);
  job.pull(1, 0, 0, {1, 1});
  EXPECT_THAT(job.optimizer().calls, SizeIs(1));
  job.replies.clear();
  job.end(0, {2, 1}, 0);
  ASSERT_THAT(job.replies, SizeIs(2));  // its acknowledgement, and what had waited
  EXPECT_THAT(job.replies.back().floats(), Each(9.0F));
}

// Staleness 2: at clock 3 everybody must have finished step 0.
TEST(AsynchronousShard, WithABoundAPullWaitsForTheSlowest) {
  ShardJob job(with_gate("ssp", "staleness = 2"));
  job.init_all(10);
  for (Step step = 0; step < 3; ++step) {
    EXPECT_THAT(job.parameters(step, 0), SizeIs(16)) << step;
    job.push(step, 0, {0, 1}, 1.0F);
  }
  EXPECT_THAT(job.parameters(3, 0), IsEmpty());
  EXPECT_THAT(job.shard().waiting_for().text, "step 0 of chunk 0 waits for partitions 1, 2");
  job.push(0, 0, {1, 1}, 1.0F);
  EXPECT_THAT(job.shard().waiting_for().text, "step 0 of chunk 0 waits for partitions 2");
  job.replies.clear();
  job.push(0, 0, {2, 1}, 1.0F);
  ASSERT_THAT(job.replies, SizeIs(2));
  EXPECT_EQ(job.replies[0].header.type, FrameType::pull_reply);
  EXPECT_EQ(job.replies[0].header.step, 3U);
  EXPECT_THAT(job.replies[0].floats(), Each(5.0F));
  EXPECT_EQ(job.shard().waiting_for().text, "");
}

// A pull that overtakes a push of the same partition waits for it.
TEST(AsynchronousShard, APullHasItsOwnPushes) {
  ShardJob job(with_gate("asp"));
  job.init_all(10);
  job.push(0, 0, {0, 1}, 1.0F);
  EXPECT_THAT(job.parameters(2, 0), IsEmpty());
  job.replies.clear();
  job.push(1, 0, {0, 1}, 1.0F);
  ASSERT_THAT(job.replies, SizeIs(2));
  EXPECT_THAT(job.replies[0].floats(), Each(8.0F));
}

// A repeated pull is answered again: its answer may have been lost.
TEST(AsynchronousShard, AnOldPullGetsWhatIsThereNow) {
  ShardJob job(with_gate("asp"));
  job.init_all(10);
  for (Step step = 0; step < 5; ++step) job.push(step, 0, {0, 1}, 1.0F);
  EXPECT_THAT(job.parameters(1, 0), Each(5.0F));
  EXPECT_EQ(job.replies.back().header.step, 1U);
}

// Read at version 0; two others push before: rate 1 / 2.
TEST(AsynchronousShard, ADelayedPushMovesLessIfTheJobSaysSo) {
  ShardJob job(with_gate("asp", "delay_aware = true"));
  job.init_all(10);
  for (const std::uint32_t p : {0U, 1U, 2U}) job.pull(0, 0, p, {p, 1});
  job.push(0, 0, {0, 1}, 1.0F);  // delay 0
  job.push(0, 0, {1, 1}, 1.0F);  // 1
  job.push(0, 0, {2, 1}, 1.0F);  // 2
  EXPECT_THAT(job.parameters(0, 0), Each(7.5F));
}

// ---- checkpoints --------------------------------------------------------------------------------

// Step 1 is to be saved: whoever is there waits until all are, and then the chunk has three steps,
// one of each partition.
TEST(AsynchronousShard, ACheckpointHasTheSameStepsOfAllPartitions) {
  ShardJob job(with_gate("asp"));
  job.init_all(10);
  EXPECT_TRUE(job.shard().checkpoint_at(1));
  job.push(0, 0, {0, 1}, 1.0F);
  job.pull(1, 0, 0, {0, 1});
  job.push(0, 0, {2, 1}, 1.0F);
  job.pull(0, 0, 1, {1, 1});  // the step before goes on
  ASSERT_THAT(job.saved, IsEmpty());
  job.replies.clear();
  job.push(0, 0, {1, 1}, 1.0F);
  ASSERT_THAT(job.saved, SizeIs(1));
  EXPECT_EQ(job.saved[0].version, 1U);
  EXPECT_THAT(std::span(job.saved[0].values).first(16), Each(7.0F));
  EXPECT_THAT(std::span(job.saved[0].values).subspan(16), Each(3.0F));  // steps of the optimizer
  ASSERT_THAT(job.replies, SizeIs(2));
  EXPECT_EQ(job.replies[0].header.type, FrameType::pull_reply);
}

TEST(AsynchronousShard, WithoutRoomNobodyGoesOn) {
  ShardJob job(with_gate("ssp"));
  job.init_all(10);
  job.rooms = 0;
  EXPECT_TRUE(job.shard().checkpoint_at(1));
  for (const std::uint32_t p : {0U, 1U, 2U}) job.push(0, 0, {p, 1}, 1.0F);
  EXPECT_THAT(job.parameters(1, 0), IsEmpty());
  EXPECT_EQ(job.shard().waiting_for().text, "the checkpoint of step 1 waits for the disk");
  job.rooms = 1;
  job.replies.clear();
  job.shard().on_room();
  ASSERT_THAT(job.saved, SizeIs(1));
  ASSERT_THAT(job.replies, SizeIs(1));
  EXPECT_THAT(job.replies[0].floats(), Each(7.0F));
}

TEST(AsynchronousShard, AStepThatSomebodyMayHaveBegunIsRefused) {
  ShardJob job(with_gate("asp"));
  job.init_all(10);
  job.push(0, 0, {0, 1}, 1.0F);
  job.pull(1, 0, 0, {0, 1});  // from now on partition 0 may push step 1
  EXPECT_FALSE(job.shard().checkpoint_at(1));
  EXPECT_TRUE(job.shard().checkpoint_at(2));
  // Unless nobody takes it: there the job ends.
  EXPECT_TRUE(job.shard().checkpoint_at(1, true));
  for (const std::uint32_t p : {1U, 2U}) job.push(0, 0, {p, 1}, 1.0F);
  ASSERT_THAT(job.saved, SizeIs(1));
  EXPECT_EQ(job.saved[0].version, 1U);
}

TEST(AsynchronousShard, GoesOnWhereACheckpointEnds) {
  ShardJob before(with_gate("ssp"));
  before.init_all(10);
  EXPECT_TRUE(before.shard().checkpoint_at(1));
  for (const std::uint32_t p : {0U, 1U, 2U}) before.push(0, 0, {p, 1}, 1.0F);
  ASSERT_THAT(before.saved, SizeIs(1));

  ShardJob job(with_gate("ssp", "staleness = 1"));
  const auto read = [&](const params::Chunk&, std::span<float> parameters, std::span<float> state) {
    const auto all = std::span(before.saved[0].values);
    std::ranges::copy(all.first(16), parameters.begin());
    std::ranges::copy(all.subspan(16), state.begin());
  };
  EXPECT_TRUE(job.shard().restore(1, 0, read));
  EXPECT_FALSE(job.shard().restore(1, 1, read));
  EXPECT_THAT(job.parameters(1, 0), Each(7.0F));
  EXPECT_EQ(job.shard().step(), 1U);
  job.push(0, 0, {1, 1}, 1.0F);  // of before
  EXPECT_EQ(job.shard().duplicates(), 1U);
  job.push(1, 0, {1, 1}, 1.0F);
  EXPECT_THAT(job.parameters(1, 0), Each(6.0F));
  EXPECT_EQ(job.replies.back().header.value, 4U);  // versions go on, too
}

// A slow connection for each worker, which keeps every answer it was ever sent for one chunk.
TEST(AsynchronousShard, StaysWithinItsMemoryWhileAnswersAreUnderWay) {
  ShardJob job(with_gate("asp"));
  job.init_all(10);
  job.keep = true;
  for (const std::uint32_t p : {0U, 1U, 2U}) {
    job.pull(0, 0, p, {p, 1});
    job.push(0, 0, {p, 1}, 1.0F, 1, p);
  }
  EXPECT_LE(job.shard().memory_used(), job.shard().memory_bound());
  for (const wire::OutFrame& frame : job.kept) {
    if (frame.header.type != FrameType::pull_reply) continue;
    float first = 0;
    std::memcpy(&first, frame.payload.data(), sizeof first);
    EXPECT_EQ(first, 10.0F - static_cast<float>(frame.header.value));  // nobody wrote into it
  }
  job.kept.clear();  // before the shard that they are of
}

}  // namespace
}  // namespace sheaf::server
