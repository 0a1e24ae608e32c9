// A server that is killed at any moment, and another one that goes on with what it had committed:
// the workers send again what was not acknowledged, and the job ends as one that lost nothing. The
// reference is such a job, without a snapshot.
#include "server/shard/snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/shard/lossy_workers.h"

namespace sheaf::server {
namespace {

using testing::Each;
using testing::IsEmpty;
using testing::SizeIs;

// Who is killed between two frames; within a step it is who takes it.
using Victim = std::optional<std::uint32_t>;
constexpr Victim kAll = std::nullopt;

// Runs the job; kills a server before the frame of that number and, if `dies_at` is not 0, in that
// call of the optimizer.
Ending run(const ShardJobOptions& options, std::size_t frames, std::size_t dies_at, bool& over,
           Victim victim = kAll) {
  ShardJob job(options);
  job.optimizer().dies_at = dies_at;
  Workers workers(job, options.skip_non_finite);
  bool killed = false;
  const auto settle_all = [&] {
    while (true) {
      if (!workers.send_all(frames)) {
        EXPECT_FALSE(killed);
        killed = true;
        const bool within = dies_at != 0 && victim;
        frames = 100000;
        job.optimizer().dies_at = 0;
        job.replace_server(within ? job.last_server() : victim);
      }
      workers.drop_settled();
      if (workers.open().empty()) return;
    }
  };
  workers.initialise();
  settle_all();
  for (Step step = 0; step < kSteps; ++step) {
    workers.begin(step);
    settle_all();
  }
  over = !killed;
  return ending_of(job);
}

ShardJobOptions options_of(const std::string& gate, bool snapshot) {
  ShardJobOptions options = lossy_options(gate);
  options.snapshot = snapshot;
  return options;
}

class SnapshotGates : public testing::TestWithParam<const char*> {};

TEST_P(SnapshotGates, AServerThatIsKilledBetweenAnyTwoFramesLosesNothing) {
  bool over = false;
  const Ending expected = run(options_of(GetParam(), false), 100000, 0, over);
  EXPECT_THAT(expected.parameters, SizeIs(48));
  over = false;
  for (std::size_t frames = 0; !over; ++frames) {
    EXPECT_EQ(run(options_of(GetParam(), true), frames, 0, over), expected) << frames << " frames";
  }
}

TEST_P(SnapshotGates, AServerThatIsKilledWithinAStepHasTheVersionBefore) {
  bool over = false;
  const Ending expected = run(options_of(GetParam(), false), 100000, 0, over);
  over = false;
  for (std::size_t call = 1; !over; ++call) {
    EXPECT_EQ(run(options_of(GetParam(), true), 100000, call, over), expected) << "call " << call;
  }
}

// Steps that need a figure of all chunks, of two servers of two lanes each: clipped, and left out
// where it is not finite.
struct Scalars {
  const char* name;
  double clip_norm;
  bool skip;
  Victim victim;
};

class SnapshotScalars : public testing::TestWithParam<Scalars> {
 protected:
  static ShardJobOptions options(bool snapshot) {
    ShardJobOptions options = options_of("bsp", snapshot);
    options.tensors = {16, 16, 16, 16, 16};
    options.servers = 2;
    options.lanes = 2;
    options.clip_norm = GetParam().clip_norm;
    options.skip_non_finite = GetParam().skip;
    return options;
  }
};

TEST_P(SnapshotScalars, AServerThatIsKilledBetweenAnyTwoFramesLosesNothing) {
  bool over = false;
  const Ending expected = run(options(false), 100000, 0, over);
  EXPECT_THAT(expected.parameters, SizeIs(80));
  over = false;
  for (std::size_t frames = 0; !over; ++frames) {
    EXPECT_EQ(run(options(true), frames, 0, over, GetParam().victim), expected)
        << frames << " frames";
  }
}

TEST_P(SnapshotScalars, AServerThatIsKilledWithinAStepHasWhatTheStepWasTakenWith) {
  bool over = false;
  const Ending expected = run(options(false), 100000, 0, over);
  over = false;
  for (std::size_t call = 1; !over; ++call) {
    EXPECT_EQ(run(options(true), 100000, call, over, GetParam().victim), expected)
        << "call " << call;
  }
}

INSTANTIATE_TEST_SUITE_P(Scalars, SnapshotScalars,
                         testing::Values(Scalars{"ClippedFirst", 2, false, 0},
                                         Scalars{"ClippedSecond", 2, false, 1},
                                         Scalars{"ClippedBoth", 2, false, kAll},
                                         Scalars{"SkippedFirst", 0, true, 0},
                                         Scalars{"SkippedBoth", 2, true, kAll}),
                         [](const auto& row) { return std::string(row.param.name); });

INSTANTIATE_TEST_SUITE_P(Gates, SnapshotGates,
                         testing::Values("bsp", "followed", "told", "ssp", "asp"),
                         [](const auto& row) { return std::string(row.param); });

TEST(SnapshotTest, APushIsAcknowledgedWhenItsStepIsCommitted) {
  ShardJob job({.partitions = 2, .snapshot = true});
  job.init_all();
  job.push(0, 0, {0, 1}, 1.0F);
  EXPECT_THAT(job.replies, IsEmpty());
  job.push(0, 0, {0, 1}, 1.0F, 1, 1);  // a repetition waits like the first
  EXPECT_THAT(job.replies, IsEmpty());
  EXPECT_EQ(job.shard().clock(0), 0U);
  job.push(0, 0, {1, 1}, 1.0F);
  EXPECT_THAT(job.replies, SizeIs(3));
}

TEST(SnapshotTest, BothVersionsOfAChunkCanBeReadAgain) {
  ShardJob job({.partitions = 2, .snapshot = true});
  job.init_all(1);
  for (const std::uint32_t p : {0U, 1U}) job.push(0, 0, {p, 1}, 1.0F);
  job.replace_server();
  EXPECT_THAT(job.parameters(0, 0), Each(1.0F));  // for a step that another chunk lacks
  EXPECT_THAT(job.parameters(1, 0), Each(0.0F));
}

TEST(SnapshotTest, AnotherShapeIsRefused) {
  const Snapshot::Shape shape{.chunks = {16, 16}, .runs = 1, .clocks = 0, .parameters = true};
  AlignedBuffer<std::byte> memory(Snapshot::bytes(shape));
  EXPECT_THROW(Snapshot::adopt(memory.span(), shape), Error);  // nobody has begun there
  const Snapshot begun = Snapshot::begin(memory.span(), shape);
  EXPECT_NO_THROW(Snapshot::adopt(memory.span(), shape));
  Snapshot::Shape other = shape;
  other.runs = 0;
  other.parameters = false;
  AlignedBuffer<std::byte> smaller(Snapshot::bytes(other));
  std::ranges::copy(memory.span().first(smaller.size()), smaller.span().begin());
  EXPECT_THROW(Snapshot::adopt(smaller.span(), other), Error);
}

// The words of a slot by hand: 6 is void while 7 and then 8 are written over 5 and 6.
TEST(SnapshotTest, ASlotIsVoidWhileItIsWritten) {
  const Snapshot::Shape shape{.chunks = {16}, .runs = 0, .clocks = 0, .parameters = true};
  AlignedBuffer<std::byte> memory(Snapshot::bytes(shape));
  const Snapshot snapshot = Snapshot::begin(memory.span(), shape);
  EXPECT_FALSE(snapshot.newest(0));
  snapshot.commit(0, 6);
  snapshot.open(0, 7);
  EXPECT_EQ(snapshot.newest(0), 6U);
  snapshot.commit(0, 7);
  EXPECT_EQ(snapshot.newest(0), 7U);
  EXPECT_TRUE(snapshot.has(0, 6));
  snapshot.open(0, 8);
  EXPECT_EQ(snapshot.newest(0), 7U);
  EXPECT_FALSE(snapshot.has(0, 6));
}

}  // namespace
}  // namespace sheaf::server
