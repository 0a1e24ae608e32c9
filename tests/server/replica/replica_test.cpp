// A server, or the one that keeps a replica of it, is killed at any moment, or the connection
// between them is cut: workers send again what was not acknowledged, and the job ends as one that
// lost nothing. The reference is such a job, without a replica.
#include "server/replica/replica.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "tests/server/shard/lossy_workers.h"

namespace sheaf::server {
namespace {

using testing::Each;
using testing::IsEmpty;
using testing::SizeIs;

enum class Loss { primary, backup, connection };

struct Point {
  std::size_t frames = 100000;                                    // of workers, before it
  std::size_t between = std::numeric_limits<std::size_t>::max();  // and of the two servers
  std::size_t pumped = std::numeric_limits<std::size_t>::max();   // see ShardJob
};

void lose(ShardJob& job, Loss loss) {
  job.until_lost = std::numeric_limits<std::size_t>::max();
  switch (loss) {
    case Loss::primary: return job.replace_server();
    case Loss::backup: return job.replace_backup();
    case Loss::connection: return job.connect_backup();
  }
}

// Runs the job and loses something at that point; `over`: it ended before.
Ending run_and_lose(const std::string& gate, Loss loss, Point point, bool& over) {
  ShardJobOptions options = lossy_options(gate);
  options.replica = true;
  ShardJob job(options);
  job.pumped = point.pumped;
  job.until_lost = point.between;
  bool lost = false;
  job.lost = [&] {
    lost = true;
    // A shard that is called does not end within the call: as if it were killed right after it.
    if (loss == Loss::primary) throw Descent::Died();
    lose(job, loss);
  };
  Workers workers(job, options.skip_non_finite);
  const auto settle_all = [&] {
    while (true) {
      if (!workers.send_all(point.frames)) {
        lost = true;
        point.frames = 100000;
        lose(job, loss);
      }
      workers.settle();
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
  over = !lost;
  job.until_lost = std::numeric_limits<std::size_t>::max();
  while (job.pump_one() != 0) {
  }
  const Ending ending = ending_of(job);
  job.replace_server();  // what the replica has come to
  EXPECT_EQ(ending_of(job), ending);
  return ending;
}

Ending run_without(const std::string& gate) {
  const ShardJobOptions options = lossy_options(gate);
  ShardJob job(options);
  Workers workers(job, options.skip_non_finite);
  std::size_t frames = 100000;
  const auto settle_all = [&] {
    workers.send_all(frames);
    workers.drop_settled();
    EXPECT_THAT(workers.open(), IsEmpty());
  };
  workers.initialise();
  settle_all();
  for (Step step = 0; step < kSteps; ++step) {
    workers.begin(step);
    settle_all();
  }
  return ending_of(job);
}

class ReplicaGates : public testing::TestWithParam<std::tuple<const char*, Loss>> {};

TEST_P(ReplicaGates, ALossBetweenAnyTwoFramesOfWorkersLosesNothing) {
  const auto [gate, loss] = GetParam();
  const Ending expected = run_without(gate);
  EXPECT_THAT(expected.parameters, SizeIs(48));
  for (const std::size_t pumped : {1U, 100U}) {
    bool over = false;
    for (std::size_t frames = 0; !over; ++frames) {
      const Point point{.frames = frames, .pumped = pumped};
      EXPECT_EQ(run_and_lose(gate, loss, point, over), expected) << frames << " frames";
    }
  }
}

TEST_P(ReplicaGates, ALossBetweenAnyTwoFramesOfTheServersLosesNothing) {
  const auto [gate, loss] = GetParam();
  const Ending expected = run_without(gate);
  for (const std::size_t pumped : {1U, 100U}) {
    bool over = false;
    for (std::size_t frames = 0; !over; ++frames) {
      const Point point{.between = frames, .pumped = pumped};
      EXPECT_EQ(run_and_lose(gate, loss, point, over), expected) << frames << " frames";
    }
  }
}

std::string name_of(const testing::TestParamInfo<ReplicaGates::ParamType>& row) {
  constexpr const char* kNames[] = {"Primary", "Backup", "Connection"};
  const auto [gate, loss] = row.param;
  return std::string(gate) + kNames[static_cast<std::size_t>(loss)];
}

INSTANTIATE_TEST_SUITE_P(
    Gates, ReplicaGates,
    testing::Combine(testing::Values("bsp", "clipped", "skipped", "followed", "told", "ssp", "asp"),
                     testing::Values(Loss::primary, Loss::backup, Loss::connection)),
    name_of);

// A process is killed, which leaves its snapshot, and some frames later its host is lost, before
// the replica has what the snapshot had.
Ending run_and_lose_both(const std::string& gate, std::size_t frames, std::size_t between,
                         std::size_t& losses) {
  ShardJobOptions options = lossy_options(gate);
  options.snapshot = options.replica = true;
  ShardJob job(options);
  job.pumped = 1;
  Workers workers(job);
  losses = 0;
  const auto settle_all = [&] {
    while (true) {
      if (!workers.send_all(frames)) {
        frames = ++losses == 1 ? between : 100000;
        job.replace_server(std::nullopt, losses == 2);
      }
      workers.settle();
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
  while (job.pump_one() != 0) {
  }
  return ending_of(job);
}

class ReplicasBehindSnapshots : public testing::TestWithParam<const char*> {};

TEST_P(ReplicasBehindSnapshots, AHostThatIsLostSoonAfterItsServerLosesNothing) {
  const Ending expected = run_without(GetParam());
  std::size_t losses = 1;
  for (std::size_t frames = 0; losses != 0; ++frames) {
    for (std::size_t between = 0; between < 20; ++between) {
      EXPECT_EQ(run_and_lose_both(GetParam(), frames, between, losses), expected)
          << frames << " frames, then " << between;
      if (losses < 2) break;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Gates, ReplicasBehindSnapshots, testing::Values("bsp", "ssp", "asp"),
                         [](const auto& row) { return std::string(row.param); });

ShardJob replicated_job() { return ShardJob({.partitions = 2, .replica = true}); }

TEST(ReplicaTest, APushIsAcknowledgedWhenTheReplicaHasItsStep) {
  ShardJob job = replicated_job();
  job.init_all();
  job.pumped = 0;
  for (const std::uint32_t p : {0U, 1U}) job.push(0, 0, {p, 1}, 1.0F);
  EXPECT_THAT(job.replies, IsEmpty());
  EXPECT_EQ(job.shard().clock(0), 0U);             // where a worker would begin
  EXPECT_THAT(job.parameters(1, 0), Each(-1.0F));  // but it can be read
  job.replies.clear();
  while (job.pump_one() != 0) {
  }
  EXPECT_THAT(job.replies, SizeIs(2));
}

// Else a step could be pushed of a chunk that who goes on with the replica does not have.
TEST(ReplicaTest, FirstValuesAreReadWhenTheReplicaHasThem) {
  ShardJob job = replicated_job();
  job.pumped = 0;
  job.init(0, 1);
  EXPECT_THAT(job.parameters(0, 0), IsEmpty());
  while (job.pump_one() != 0) {
  }
  ASSERT_THAT(job.replies, SizeIs(2));
  EXPECT_EQ(job.replies[0].header.type, wire::FrameType::init_ack);
  EXPECT_THAT(job.replies[1].floats(), Each(1.0F));
}

TEST(ReplicaTest, BothVersionsOfAChunkCanBeReadAgain) {
  ShardJob job = replicated_job();
  job.init_all(1);
  for (const std::uint32_t p : {0U, 1U}) job.push(0, 0, {p, 1}, 1.0F);
  job.replace_server();
  EXPECT_THAT(job.parameters(0, 0), Each(1.0F));  // for a step that another chunk lacks
  EXPECT_THAT(job.parameters(1, 0), Each(0.0F));
}

// Who has taken a backup's place and was not told everything yet says so.
TEST(ReplicaTest, APartOfAReplicaIsNotGoneOnWith) {
  ShardJob job = replicated_job();
  job.init_all();
  job.replace_backup();
  EXPECT_EQ(job.pump_one(), 1U);
  EXPECT_THROW(job.replace_server(), Error);
}

// It may have acknowledged the newest step in the snapshot, or not: the next host of the partition
// would begin behind where that was, or without what a lost snapshot had alone.
TEST(ReplicaTest, WhoGoesOnWithASnapshotKnowsItsClocksWhenTheReplicaHasAnswered) {
  ShardJob job(
      {.tensors = {16}, .partitions = 2, .gate = "asp", .snapshot = true, .replica = true});
  job.init_all();
  job.push(0, 0, {0, 1}, 1.0F);
  ASSERT_THAT(job.replies, SizeIs(1));  // acknowledged
  job.pumped = 0;
  job.replace_server();
  EXPECT_FALSE(job.shard().knows_clocks());
  while (job.pump_one() != 0) {
  }
  EXPECT_TRUE(job.shard().knows_clocks());
  EXPECT_EQ(job.shard().clock(0), 1U);
  EXPECT_EQ(job.shard().clock(1), 0U);
}

// A chunk whose sums do not leave goes whole: what waits does not grow with the steps.
TEST(ReplicaTest, WhatWaitsForASlowReplicaStaysSmall) {
  ShardJob job({.tensors = {16}, .partitions = 1, .gate = "asp", .replica = true});
  job.init_all();
  job.pumped = 0;
  for (Step step = 0; step < 50; ++step) job.push(step, 0, {0, 1}, 1.0F);
  std::size_t frames = 0;
  while (job.pump_one() != 0) ++frames;
  // Two sums, then parameters of two versions, clocks, scalar and state; three answers.
  EXPECT_EQ(frames, 2U + 5U + 3U);
  EXPECT_THAT(job.replies, SizeIs(50));
  job.replace_server();
  EXPECT_THAT(job.parameters(50, 0), Each(-50.0F));
}

// A connection holds what it is writing; how much that may be is in the bound of the lane's memory.
TEST(ReplicaTest, WhatIsBeingWrittenStaysSmall) {
  ShardJob job({.tensors = {16}, .partitions = 1, .gate = "asp", .replica = true});
  job.init_all();
  job.pumped = 0;
  std::vector<wire::OutFrame> writing;
  for (Step step = 0; step < 50; ++step) {
    job.push(step, 0, {0, 1}, 1.0F);
    while (auto frame = job.shard().next_for_backup()) writing.push_back(std::move(*frame));
  }
  EXPECT_LE(job.shard().memory_used(), job.shard().memory_bound());
  // Two sums, then parameters of two versions, clocks, scalar and state.
  EXPECT_THAT(writing, SizeIs(2U + 5U));
}

TEST(ReplicaTest, WhatBreaksTheRulesIsRefused) {
  ShardJob job = replicated_job();
  Descent optimizer;
  const std::vector<std::uint32_t> ids = {0, 1, 2};
  Replica replica({.layout = job.layout(),
                   .chunks = job.chunks(),
                   .ids = ids,
                   .optimizer = optimizer,
                   .clocks = 2},
                  true);
  wire::Header sum;
  sum.type = wire::FrameType::replicate;
  sum.payload_bytes = static_cast<std::uint32_t>(sum_bytes(16));
  const auto refused = [&](wire::Header header) {
    EXPECT_THROW(
        {
          replica.receive_into(header);
          replica.on_frame(header);
        },
        Error);
  };
  refused(sum);  // for a chunk of which it has nothing
  sum.payload_bytes = 3;
  refused(sum);
  sum.chunk = 3;
  refused(sum);
  wire::Header copy;
  copy.type = wire::FrameType::copy;
  copy.payload_bytes = 15;
  refused(copy);
  copy.payload_bytes = 64;
  copy.status = 1;
  refused(copy);  // its state is missing
  copy.value = 1000;
  refused(copy);
  wire::Header word;
  word.type = wire::FrameType::replica;
  word.status = 99;
  refused(word);
  word.type = wire::FrameType::push;
  refused(word);
}

}  // namespace
}  // namespace sheaf::server
