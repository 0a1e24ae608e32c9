// A server that is lost while it reads the checkpoint that its job goes on from: the one in its
// place has what it has left, and reads the rest. Chunk c of the checkpoint of step 5 is all 10 +
// c, its state all 5.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using testing::Each;
using testing::ElementsAre;

constexpr Step kRestored = 5;

struct Restoring {
  ShardJob& job;
  std::vector<std::uint32_t> read = {};  // chunks
  bool next(std::size_t n) {
    return job.shard().restore(
        kRestored, n,
        [&](const params::Chunk& chunk, std::span<float> parameters, std::span<float> state) {
          const auto c = static_cast<std::uint32_t>(chunk.offset / 16);
          read.push_back(c);
          std::ranges::fill(parameters, 10.0F + static_cast<float>(c));
          std::ranges::fill(state, 5.0F);
        });
  }
  void all() {
    for (std::size_t n = 0; next(n); ++n) {
    }
  }
};

ShardJobOptions restored_options(bool replica) {
  return {.tensors = {16, 16, 16},
          .partitions = 2,
          .snapshot = !replica,
          .replica = replica,
          .restores_rest = true};
}

// All chunks are at the step, and take the next one.
void expect_to_train(ShardJob& job) {
  EXPECT_EQ(job.shard().clock(0), kRestored);
  for (std::uint32_t c = 0; c < 3; ++c) {
    EXPECT_THAT(job.parameters(kRestored, c), Each(10.0F + static_cast<float>(c)));
    for (const std::uint32_t p : {0U, 1U}) job.push(kRestored, c, {p, 1}, 1.0F);
    EXPECT_THAT(job.parameters(kRestored + 1, c), Each(9.0F + static_cast<float>(c)));
  }
}

TEST(RestoredTest, ASuccessorReadsWhatTheSnapshotLacks) {
  for (std::size_t before = 0; before <= 3; ++before) {
    ShardJob job(restored_options(false));
    Restoring first{job};
    for (std::size_t n = 0; n < before; ++n) first.next(n);
    job.replace_server();
    Restoring second{job};
    second.all();
    EXPECT_EQ(second.read.size(), 3 - before);
    expect_to_train(job);
  }
}

TEST(RestoredTest, ASuccessorReadsWhatTheReplicaLacks) {
  constexpr std::size_t kAll = 10;  // three copies of two parts, their answers, and a word
  for (std::size_t frames = 0; frames <= kAll; ++frames) {
    ShardJob job(restored_options(true));
    job.pumped = 0;
    Restoring first{job};
    first.next(0);
    first.next(1);
    for (std::size_t i = 0; i < frames; ++i) job.pump_one();
    job.replace_server();
    Restoring second{job};
    second.all();
    EXPECT_THAT(second.read.back(), 2U);
    job.pumped = std::numeric_limits<std::size_t>::max();
    expect_to_train(job);
  }
}

// Some of it has been pulled and pushed to, and nothing of that acknowledged.
TEST(RestoredTest, StepsThatNobodyWasToldOfAreTakenAgain) {
  ShardJob job(restored_options(true));
  job.pumped = 0;
  Restoring first{job};
  first.all();
  for (const std::uint32_t p : {0U, 1U}) job.push(kRestored, 1, {p, 1}, 1.0F);
  EXPECT_THAT(job.replies, testing::IsEmpty());
  for (int i = 0; i < 3; ++i) job.pump_one();  // the copy of chunk 0
  job.replace_server();
  Restoring second{job};
  second.all();
  EXPECT_THAT(second.read, ElementsAre(1U, 2U));
  job.pumped = std::numeric_limits<std::size_t>::max();
  expect_to_train(job);
}

}  // namespace
}  // namespace sheaf::server
