// EF21-P in a shard: who has the version before gets the encoded difference, everybody else the
// same version whole. With UpperHalves (7 bits of mantissa, truncated) all of it can be worked out
// by hand: steps are x -= 1 + 2^-8, of which a difference keeps 1 at first, and the rest of two
// steps, 2^-7, comes with the second.
#include <gmock/gmock.h>

#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using testing::Each;
using testing::SizeIs;

constexpr float kStep = 1 + 0x1p-8F;

class PullFeedback : public testing::Test {
 protected:
  static ShardJobOptions options() {
    return {.tensors = {16}, .lossy_pull = true, .pull_feedback = true};
  }
  PullFeedback() : job(options()) { job.init_all(0); }

  void step(Step step) { job.push(step, 0, {0, 4}, 4 * kStep, 4); }
  // What a pull gives a worker that has `before`, the version before `next`.
  Reply pull(Step clock, Version next) {
    job.replies.clear();
    job.pull(clock, 0, 0, {0, 1}, next);
    EXPECT_THAT(job.replies, SizeIs(1));
    return job.replies.empty() ? Reply{} : job.replies.front();
  }
  static bool is_difference(const Reply& reply) {
    return reply.header.status == static_cast<std::uint8_t>(wire::PullStatus::difference);
  }
  static std::vector<float> decoded(const Reply& reply, float before) {
    std::vector<float> values(16, before);
    UpperHalves().decode_add(reply.payload, {}, values);
    return values;
  }
  ShardJob job;
};

TEST_F(PullFeedback, WhatADifferenceLeavesOutComesWithTheNextOne) {
  EXPECT_FALSE(is_difference(pull(0, 0)));
  step(0);
  const Reply first = pull(1, 1);
  ASSERT_TRUE(is_difference(first));
  EXPECT_EQ(first.header.value, 1U);
  EXPECT_THAT(decoded(first, 0), Each(-1.0F));
  step(1);
  const Reply second = pull(2, 2);
  ASSERT_TRUE(is_difference(second));
  EXPECT_THAT(decoded(second, -1), Each(-2 * kStep));
}

TEST_F(PullFeedback, WhoLacksTheVersionBeforeGetsWhatTheOthersHave) {
  step(0);
  for (const Version next : {0U, 2U}) {
    const Reply whole = pull(1, next);
    EXPECT_FALSE(is_difference(whole));
    EXPECT_THAT(whole.floats(), Each(-1.0F));
  }
  step(1);
  EXPECT_FALSE(is_difference(pull(2, 1)));  // it is two versions behind
  EXPECT_THAT(pull(2, 1).floats(), Each(-2 * kStep));
  EXPECT_THAT(pull(1, 0).floats(), Each(-1.0F));  // an open step is computed again
  EXPECT_THAT(decoded(pull(1, 1), 0), Each(-1.0F));
}

TEST_F(PullFeedback, AVersionIsEncodedOnceForAll) {
  step(0);
  const Reply first = pull(1, 1);
  EXPECT_EQ(pull(1, 1).payload, first.payload);
  EXPECT_EQ(pull(1, 0).floats(), std::vector<float>(16, -1.0F));
  EXPECT_EQ(pull(1, 1).payload, first.payload);
}

TEST_F(PullFeedback, ASlowReaderKeepsItsDifferenceAndNothingElseGrows) {
  step(0);
  job.keep = true;
  const auto bytes = pull(1, 1).payload;
  job.keep = false;
  for (Step s = 1; s < 20; ++s) {
    step(s);
    pull(s + 1, s + 1);
    EXPECT_LE(job.shard().memory_used(), job.shard().memory_bound());
  }
  ASSERT_THAT(job.kept, SizeIs(1));
  EXPECT_TRUE(std::ranges::equal(job.kept[0].payload, bytes));
}

// x - w is kept apart from w: behind a checkpoint, differences are the same bytes.
TEST_F(PullFeedback, AJobGoesOnFromACheckpointWithTheSameDifferences) {
  step(0);
  ASSERT_TRUE(job.shard().checkpoint_at(2));
  step(1);
  job.push(2, 0, {0, 4}, 4 * kStep, 4);
  ASSERT_THAT(job.saved, SizeIs(1));
  const auto& saved = job.saved[0].values;
  ASSERT_THAT(saved, SizeIs(3 * 16));  // parameters, one run of state, what workers have
  EXPECT_THAT(std::vector(saved.begin() + 32, saved.end()), Each(-2 * kStep));

  ShardJob again(options());
  EXPECT_TRUE(again.shard().restore(
      2, 0, [&](const params::Chunk&, std::span<float> parameters, std::span<float> state) {
        std::ranges::copy(std::span(saved).first(16), parameters.begin());
        std::ranges::copy(std::span(saved).subspan(16), state.begin());
      }));
  again.replies.clear();
  again.pull(2, 0, 0, {0, 1}, 2);
  ASSERT_THAT(again.replies, SizeIs(1));
  EXPECT_FALSE(is_difference(again.replies[0]));  // that is not kept
  EXPECT_THAT(again.replies[0].floats(), Each(-2 * kStep));
  again.push(2, 0, {0, 4}, 4 * kStep, 4);
  again.replies.clear();
  again.pull(3, 0, 0, {0, 1}, 3);
  ASSERT_THAT(again.replies, SizeIs(1));
  EXPECT_EQ(again.replies[0].payload, pull(3, 3).payload);
}

}  // namespace
}  // namespace sheaf::server
