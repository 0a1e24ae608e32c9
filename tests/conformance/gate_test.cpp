// What every gate promises, asked of every file in server/consistency/modes/: in words, over all
// that a chunk may know, and over the history of a shard that serves partitions of random speed.
#include "server/consistency/gate.h"

#include <gmock/gmock.h>

#include <map>
#include <vector>

#include "common/base/random.h"
#include "server/consistency/trace.h"
#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using When = PullAnswer::When;

class GateConformance : public testing::TestWithParam<ModeEntry<Gate>> {
 protected:
  GateConformance() : gate_(make_gate(GetParam().name)) {}

  Step behind(Step clock) const {  // the least that the slowest may have
    if (!gate_->staleness()) return 0;
    return clock - std::min(clock, *gate_->staleness());
  }

  std::unique_ptr<Gate> gate_;
};

TEST_P(GateConformance, AppliesNothingOfNobodyAndTheStepOfAll) {
  for (const std::uint32_t partitions : {1U, 2U, 7U}) {
    for (std::uint32_t covered = 0; covered <= partitions; ++covered) {
      const bool enough = covered != 0 && covered + gate_->backup() >= partitions;
      const bool expected = gate_->synchronous() ? enough : covered != 0;
      EXPECT_EQ(gate_->may_apply({covered, partitions}), expected);
    }
  }
}

// The bound, and no more than the bound: who may read is not made to wait.
TEST_P(GateConformance, AnswersWithinItsBoundAndOnlyThere) {
  for (Step clock = 0; clock < 9; ++clock) {
    for (Step slowest = 0; slowest < 9; ++slowest) {
      for (Step own = slowest; own < 9; ++own) {
        // In a synchronous model the version is the step of all; nobody has more than one more.
        if (gate_->synchronous() && (own > slowest + 1 || clock > slowest + 1)) continue;
        const Version newest = gate_->synchronous() ? slowest : 3 * own + slowest;
        const Version oldest = newest - std::min<Version>(newest, 1);
        const auto [when, version] = gate_->answer(clock, {oldest, newest, slowest, own});
        if (gate_->backup() != 0) {  // the newest, to whoever is not ahead of it
          EXPECT_EQ(when, clock <= newest ? When::now : When::later);
          EXPECT_EQ(version, when == When::now ? newest : 0);
          continue;
        }
        if (gate_->overtakes() && clock < oldest) {  // its step is over
          EXPECT_EQ(when, When::now);
          EXPECT_EQ(version, newest);
          continue;
        }
        if (gate_->synchronous()) {
          EXPECT_EQ(when, clock < oldest ? When::never : clock <= newest ? When::now : When::later);
          EXPECT_EQ(version, when == When::now ? clock : 0);
          continue;
        }
        const bool may = own >= clock && slowest >= behind(clock);
        EXPECT_EQ(when, may ? When::now : When::later) << clock << " " << slowest << " " << own;
        EXPECT_EQ(version, may ? newest : 0);
      }
    }
  }
}

TEST_P(GateConformance, KeepsTheRateUnlessItIsAskedToLookAtDelays) {
  for (const Version delay : {0U, 1U, 5U, 100U}) EXPECT_EQ(gate_->rate_scale(delay), 1);
  if (gate_->synchronous()) return;
  const auto aware = make_gate(GetParam().name, "delay_aware = true");
  for (const Version delay : {1U, 5U, 100U}) {
    EXPECT_EQ(aware->rate_scale(delay), 1.0 / static_cast<double>(delay));
  }
  EXPECT_EQ(aware->rate_scale(0), 1);
}

// Partitions of random speed, each a worker with a connection of its own that waits for one pull at
// a time. The trace is judged by a checker that knows the promise only; the parameters by counting:
// the mean gradient is 1, so each version has 1 less.
TEST_P(GateConformance, AShardBehindItKeepsThePromise) {
  constexpr std::uint32_t kPartitions = 5;
  constexpr Step kSteps = 12;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    ShardJob job({.tensors = {16, 16},
                  .partitions = kPartitions,
                  .connections = kPartitions,
                  .gate = std::string(GetParam().name)});
    job.init_all(0);
    Stream random(seed, Purpose::test);
    std::vector<Step> clocks(kPartitions, 0);
    std::vector<bool> reading(kPartitions, false);
    std::vector<std::uint32_t> read(kPartitions, 0);  // chunks of the version it waits for
    std::vector<Version> versions(kPartitions, 0);    // of the first chunk
    const auto take_replies = [&] {
      for (const Reply& reply : job.replies) {
        if (reply.header.type != wire::FrameType::pull_reply) continue;
        const std::uint32_t p = reply.header.partitions.first;
        EXPECT_EQ(reply.header.step, clocks[p]);
        EXPECT_EQ(reply.floats().front(), -static_cast<float>(reply.header.value));
        ++read[p];
        if (reply.header.chunk == 0) versions[p] = reply.header.value;
      }
      job.replies.clear();
    };
    for (int turn = 0; turn < 20000; ++turn) {
      // Partition 0 is the slowest by far.
      const auto p = static_cast<std::uint32_t>(random.next() % kPartitions);
      if (p == 0 && random.next() % 8 != 0) continue;
      if (clocks[p] == kSteps) continue;
      if (!reading[p]) {
        reading[p] = true;
        read[p] = 0;
        for (const std::uint32_t c : {0U, 1U}) job.pull(clocks[p], c, p, {p, 1});
        take_replies();
      }
      if (read[p] < 2) continue;                               // it waits
      if (gate_->backup() != 0 && versions[p] != clocks[p]) {  // it was left behind
        clocks[p] = versions[p];
        reading[p] = false;
        continue;
      }
      for (const std::uint32_t c : {1U, 0U}) {
        job.push(clocks[p], c, {p, 1}, 1.0F, 1, p);
        if (random.next() % 4 == 0) job.push(clocks[p], c, {p, 1}, 1.0F, 1, p);  // sent again
      }
      reading[p] = false;
      ++clocks[p];
      take_replies();
    }
    EXPECT_THAT(clocks, testing::Each(kSteps)) << "seed " << seed << ": a partition waits for ever";
    TraceChecker checker({.partitions = kPartitions,
                          .synchronous = gate_->synchronous(),
                          .overtakes = gate_->overtakes(),
                          .backup = gate_->backup(),
                          .staleness = gate_->staleness()});
    for (const TraceEvent& event : job.trace) ASSERT_EQ(checker.add(event), "") << seed;
    EXPECT_EQ(checker.pushes(), 2 * (kPartitions - gate_->backup()) * kSteps);
    EXPECT_EQ(job.shard().dropped(), gate_->backup() * kSteps);
    if (gate_->backup() != 0) continue;  // who was left behind has read more often, and less
    EXPECT_EQ(checker.pulls(), 2 * kPartitions * kSteps);
    if (!gate_->synchronous()) {  // it is used, too: somebody went as far ahead as is allowed
      const Step most = gate_->staleness().value_or(kSteps - 1);
      EXPECT_GE(checker.most_ahead(), std::min<Step>(most, 3));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryMode, GateConformance, testing::ValuesIn(gates()),
                         [](const auto& mode) { return std::string(mode.param.name); });

}  // namespace
}  // namespace sheaf::server
