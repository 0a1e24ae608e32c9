// Properties of the protocol over many seeded runs. SHEAF_SIMULATION_SEEDS sets how many seeds each
// test tries (default 15; a night's worth is welcome).
#include "tests/simulation/simulation.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <cstring>

#include "common/base/error.h"
#include "common/base/random.h"

namespace sheaf::simulation {
namespace {

std::uint64_t seeds() {
  const char* text = std::getenv("SHEAF_SIMULATION_SEEDS");
  return text == nullptr ? 15 : std::strtoull(text, nullptr, 10);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Runs the job, which must end as one serial loop says.
Outcome expect_reference(const Options& options) {
  Outcome outcome;
  EXPECT_EQ(violation(options, outcome), "") << "seed " << options.seed;
  return outcome;
}

// A job of random size for a seed, with a bad network and partitions that move.
Options rough(std::uint64_t seed) {
  Stream stream(seed, Purpose::test, 9);
  const auto from = [&](std::uint32_t low, std::uint32_t high) {
    return low + stream.next() % (high - low + 1);
  };
  Options options;
  options.seed = seed;
  options.partitions = from(1, 9);
  options.workers = std::min(options.partitions, from(1, 4));
  options.servers = from(1, 3);
  options.lanes = from(1, 2);
  options.window = from(1, 5);
  options.faults = 8;
  options.loss = 0.1;
  options.repetition = 0.1;
  options.delay = from(50, 2000);
  return options;
}

TEST(SimulationTest, AQuietNetworkGivesTheReference) {
  Options options;
  options.partitions = 6;
  options.workers = 3;
  options.servers = 2;
  options.lanes = 2;
  const Outcome outcome = expect_reference(options);
  EXPECT_EQ(outcome.parameters.size(), 3U);
  EXPECT_EQ(outcome.duplicates, 0U);
}

TEST(SimulationTest, LossRepetitionAndMovesChangeNoBit) {
  Outcome seen;
  for (std::uint64_t seed = 1; seed <= 2 * seeds(); ++seed) {
    const Outcome outcome = expect_reference(rough(seed));
    seen.duplicates += outcome.duplicates;
    seen.partial += outcome.partial;
    seen.moves += outcome.moves;
    seen.chunks_apart = seen.chunks_apart || outcome.chunks_apart;
  }
  // The runs were as rough as they claim to be.
  EXPECT_GT(seen.duplicates, 0U);
  EXPECT_GT(seen.partial, 0U);
  EXPECT_GT(seen.moves, 0U);
  EXPECT_TRUE(seen.chunks_apart);  // layers advance on their own
}

// Coverage sets: with every frame likely to come twice, each partition still counts once.
TEST(SimulationTest, WhatComesTwiceCountsOnce) {
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    Options options = rough(seed);
    options.repetition = 0.9;
    expect_reference(options);
  }
}

TEST(SimulationTest, HalfOfAllFramesMayGetLost) {
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    Options options = rough(seed);
    options.loss = 0.5;
    options.steps = 3;
    expect_reference(options);
  }
}

// Order-free sums: the same job on other numbers of workers, servers and lanes, one reference.
TEST(SimulationTest, HostingDoesNotShowInTheBits) {
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    Options options = rough(seed);
    options.partitions = 8;
    std::vector<float> first;
    for (const std::uint32_t workers : {1U, 2U, 3U, 8U}) {
      options.workers = workers;
      options.servers = 1 + workers % 3;
      const Outcome outcome = expect_reference(options);
      if (first.empty()) first = outcome.parameters.front();
      EXPECT_TRUE(same_bits(outcome.parameters.front(), first));
    }
  }
}

// End frames: partitions without examples never hang a step, not even where a push that covers them
// is answered in part.
TEST(SimulationTest, ExhaustedPartitionsHangNothing) {
  std::uint64_t partial = 0;
  for (std::uint64_t seed = 1; seed <= 2 * seeds(); ++seed) {
    Options options = rough(seed);
    options.exhausted = true;
    options.partitions = std::max(options.partitions, 4U);
    options.workers = std::max(options.workers, 2U);
    partial += expect_reference(options).partial;
  }
  EXPECT_GT(partial, 0U);
}

TEST(SimulationTest, LossyPushesComeFromEachPartitionAlone) {
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    Options options = rough(seed);
    options.lossy_push = true;
    options.exhausted = seed % 2 == 0;
    EXPECT_EQ(expect_reference(options).partial, 0U);
  }
}

// Step scalars: the norm of the whole gradient, over lanes and servers that hold parts of it.
TEST(SimulationTest, ClippingSeesTheWholeGradient) {
  for (std::uint64_t seed = 1; seed <= seeds(); ++seed) {
    Options options = rough(seed);
    options.clip_norm = 40;
    options.exhausted = seed % 2 == 0;
    expect_reference(options);
    Options without = options;
    without.clip_norm = 0;
    EXPECT_FALSE(same_bits(reference(options).parameters, reference(without).parameters))
        << "nothing was clipped";
  }
}

// Group ids: the frozen tensor keeps its first bits, all others move.
TEST(SimulationTest, FrozenParametersStayAsTheyAre) {
  const auto last = run(rough(3)).parameters.front();
  const auto first = first_parameters();
  const params::Layout all = layout();
  for (const params::Tensor& tensor : all.tensors()) {
    for (std::size_t i = tensor.offset; i < tensor.offset + tensor.size; ++i) {
      EXPECT_EQ(last[i] == first[i], tensor.name == "frozen") << tensor.name;
    }
  }
}

// ---- where each push is a step ------------------------------------------------------------------

// Nothing is lost or counted twice, and every read keeps its bound (which run() checks), whatever
// the network does and whoever dies.
TEST(SimulationTest, EachPushCountsOnceWhereItIsAStep) {
  Outcome seen;
  for (const std::string gate : {"ssp", "asp"}) {
    for (std::uint64_t seed = 1; seed <= 2 * seeds(); ++seed) {
      Options options = rough(seed);
      options.gate = gate;
      options.exhausted = seed % 3 == 0;
      options.lossy_push = seed % 4 == 0;
      options.repetition = seed % 2 == 0 ? 0.8 : 0.1;
      const Outcome outcome = expect_reference(options);
      seen.duplicates += outcome.duplicates;
      seen.moves += outcome.moves;
      EXPECT_EQ(outcome.partial, 0U);
    }
  }
  EXPECT_GT(seen.duplicates, 0U);
  EXPECT_GT(seen.moves, 0U);
}

// One worker is slow: the others run ahead as far as they may, and no further.
TEST(SimulationTest, ASlowPartitionIsLeftBehindAsFarAsTheBoundAllows) {
  for (const Step staleness : {0U, 1U, 4U}) {
    Options options;
    options.partitions = options.workers = 4;
    options.steps = 20;
    options.slow = 50;
    options.gate = "ssp";
    options.gate_keys = fmt::format("staleness = {}", staleness);
    EXPECT_EQ(expect_reference(options).most_ahead, staleness);
    options.gate = "asp";
    options.gate_keys = "";
    EXPECT_GT(expect_reference(options).most_ahead, 4U);
  }
}

// ---- steps that go without the last ones --------------------------------------------------------

// Whatever the network does and whoever dies: every step has the same partitions in all chunks
// (run() checks it), at least as many as it must, and is what one loop makes of just those.
TEST(SimulationTest, AStepWithBackupIsOfTheSamePartitionsEverywhere) {
  Outcome seen;
  for (std::uint64_t seed = 1; seed <= 3 * seeds(); ++seed) {
    Options options = rough(seed);
    options.gate = "drop";
    options.partitions = std::max(options.partitions, 2U);
    const auto backup = static_cast<std::uint32_t>(1 + seed % (options.partitions - 1));
    options.gate_keys = fmt::format("backup = {}", backup);
    options.exhausted = seed % 3 == 0;
    options.lossy_push = seed % 4 == 0;
    options.clip_norm = seed % 5 == 0 ? 40 : 0;
    options.repetition = seed % 2 == 0 ? 0.8 : 0.1;
    const Outcome outcome = expect_reference(options);
    EXPECT_EQ(outcome.dropped_pushes, outcome.dropped.size());
    for (Step step = 0; step < options.steps; ++step) {
      const auto without =
          std::ranges::count(outcome.dropped, step, [](auto& d) { return d.first; });
      EXPECT_LE(without, backup) << "seed " << seed << " step " << step;
    }
    seen.dropped_pushes += outcome.dropped_pushes;
    seen.duplicates += outcome.duplicates;
    seen.moves += outcome.moves;
  }
  EXPECT_GT(seen.dropped_pushes, 0U);
  EXPECT_GT(seen.duplicates, 0U);
  EXPECT_GT(seen.moves, 0U);
}

// The others do not wait for a slow one, and it comes back to where they are: it takes part in few
// steps, but the job ends at its last one.
TEST(SimulationTest, ASlowPartitionIsDroppedAndGoesOnFromTheNewestVersion) {
  Options options;
  options.partitions = options.workers = 4;
  options.servers = 2;
  options.lanes = 2;
  options.steps = 40;
  options.slow = 50;
  options.gate = "drop";
  const Outcome outcome = expect_reference(options);
  const auto of_the_slow =
      std::ranges::count(outcome.dropped, 3U, [](auto& d) { return d.second; });
  EXPECT_GT(of_the_slow, 30);
  EXPECT_EQ(outcome.parameters.size(), 4U);
}

// ---- gradients that are not finite --------------------------------------------------------------

// All shards leave out the same steps, and none of the others: the parameters, and the updates that
// were counted, are those of a loop that leaves them out.
TEST(SimulationTest, AStepThatIsNotFiniteIsSkippedByAllShards) {
  std::size_t skipped = 0;
  for (std::uint64_t seed = 1; seed <= 2 * seeds(); ++seed) {
    Options options = rough(seed);
    options.skip = true;
    options.clip_norm = seed % 2 == 0 ? 40 : 0;
    if (seed % 3 == 0) {
      options.gate = "drop";
      options.partitions = std::max(options.partitions, 2U);
    }
    skipped += expect_reference(options).skipped.size();
  }
  EXPECT_GT(skipped, 0U);
}

// The runs are what they say: nothing but the seed decides them.
TEST(SimulationTest, ASeedGivesTheSameRunAgain) {
  const Outcome one = run(rough(5));
  const Outcome two = run(rough(5));
  EXPECT_EQ(one.course, two.course);
  EXPECT_NE(one.course, run(rough(6)).course);
}

}  // namespace
}  // namespace sheaf::simulation
