// Ranks as threads: real servers and workers against the serial reference, for every way to host
// the same partitions.
#include <gmock/gmock.h>

#include <cstring>

#include "common/base/error.h"
#include "tests/cluster/every_hosting.h"

namespace sheaf::threads {
namespace {

// Of the losses of ten steps.
double mean_of_10(const Result& result, std::size_t begin) {
  double total = 0;
  for (std::size_t i = begin; i < begin + 10; ++i) total += result.losses.at(i) / 10;
  return total;
}

TEST(ThreadsTest, AModelLearns) {
  JobOptions options;
  options.examples = 400;
  options.batch = 32;
  options.steps = 120;
  options.rate = 0.03;
  options.servers = 2;
  const Result result = expect_reference(options);
  EXPECT_LT(mean_of_10(result, 110), 0.5 * mean_of_10(result, 0));
}

TEST(ThreadsTest, HostingDoesNotShowInTheBitsOf4Partitions) {
  expect_reference_for_every_hosting({.partitions = 4});
}
TEST(ThreadsTest, HostingDoesNotShowInTheBitsOf5Partitions) {
  expect_reference_for_every_hosting({.partitions = 5});
}
TEST(ThreadsTest, HostingDoesNotShowInTheBitsOf6Partitions) {
  expect_reference_for_every_hosting({.partitions = 6});
}
TEST(ThreadsTest, HostingDoesNotShowInTheBitsOf7Partitions) {
  expect_reference_for_every_hosting({.partitions = 7});
}
TEST(ThreadsTest, HostingDoesNotShowInTheBitsOf8Partitions) {
  expect_reference_for_every_hosting({.partitions = 8});
}

// 30 training examples over 8 partitions are 3 or 4 each, taken one at a time: half of the
// partitions have nothing left in the fourth step of an epoch.
TEST(ThreadsTest, UnequalDataHangsNothing) {
  expect_reference_for_every_hosting({.partitions = 8, .examples = 37, .batch = 8, .steps = 9});
}
TEST(ThreadsTest, UnequalDataHangsNothingWhereEachPartitionPushesForItself) {
  expect_reference_for_every_hosting(
      {.partitions = 8, .examples = 37, .batch = 8, .steps = 9, .lossy_push = true});
}

// The seams of later work: what is lossy or noisy is done by each partition for itself.
TEST(ThreadsTest, LossyPushesAreEncodedByEachPartition) {
  expect_reference_for_every_hosting({.partitions = 5, .lossy_push = true});
}
TEST(ThreadsTest, LossyPullsAreDecodedByEachWorker) {
  expect_reference_for_every_hosting({.partitions = 5, .lossy_pull = true});
}
// The real ones, in a job of small chunks: 32 values.
TEST(ThreadsTest, EveryCompressorGivesTheBitsOfTheReference) {
  for (const std::string push :
       {"fp16", "bf16", "int8\nblock = 16", "int8\nrounding = 'stochastic'",
        "int4\nrounding = 'stochastic'", "sign", "topk\nratio = 0.3", "topk\nvalues = 8",
        "randomk\nratio = 0.5"}) {
    SCOPED_TRACE(push);
    expect_reference({.partitions = 5, .workers = 2, .servers = 2, .lanes = 2, .push = push});
    expect_reference({.partitions = 5, .workers = 3, .push = push, .tcp = true, .shared = true});
  }
  for (const std::string pull : {"fp16", "bf16", "int8", "int8\nrounding = 'stochastic'", "int4"}) {
    SCOPED_TRACE(pull);
    expect_reference({.partitions = 5, .workers = 2, .servers = 2, .push = "int8", .pull = pull});
  }
}
TEST(ThreadsTest, EveryCompressorTakesLocalStepsAndUnequalData) {
  for (const std::string push : {"int8", "topk\nratio = 0.5", "randomk\nratio = 0.5"}) {
    SCOPED_TRACE(push);
    expect_reference({.partitions = 5,
                      .steps = 4,
                      .gate = "local",
                      .local_steps = 2,
                      .push = push,
                      .pull = "bf16"});
    expect_reference({.partitions = 8, .examples = 37, .batch = 8, .steps = 9, .push = push});
  }
}
TEST(ThreadsTest, SmallTensorsMayBeSpared) {
  expect_reference_for_every_hosting(
      {.partitions = 5, .push = "int4", .pull = "int8", .exempt_below = 20});
}
TEST(ThreadsTest, LayersMayHaveCompressorsOfTheirOwn) {
  const JobOptions layers{.partitions = 5,
                          .push = "topk\nratio = 0.2",
                          .feedback = true,
                          .exempt_below = 8,
                          .layers = {{"layers.0.*", "int8\nblock = 16"}, {"*.bias", "none"}}};
  expect_reference_for_every_hosting(layers);
  JobOptions both = layers;
  both.pull = "topk\nratio = 0.2";
  both.pull_feedback = both.tcp = both.shared = true;
  expect_reference(both);
  JobOptions usual = layers;
  usual.layers.clear();
  EXPECT_NE(reference(usual).model, reference(layers).model);
}
TEST(ThreadsTest, WhatAPushLeavesOutGoesWithTheNextOne) {
  for (const std::string push :
       {"topk\nratio = 0.1", "sign", "int4", "randomk\nunbiased = false"}) {
    SCOPED_TRACE(push);
    expect_reference_for_every_hosting({.partitions = 5, .push = push, .feedback = true});
    expect_reference(
        {.partitions = 8, .examples = 37, .batch = 8, .steps = 9, .push = push, .feedback = true});
    expect_reference(
        {.partitions = 5, .push = push, .feedback = true, .tcp = true, .shared = true});
  }
}
// What is left out is in units of gradients: it stays what it is when the rate changes, and gets
// that of the step that sends it.
TEST(ThreadsTest, WhatAPushLeavesOutKnowsNoRate) {
  for (const std::string push : {"topk\nratio = 0.1", "sign", "int8"}) {
    SCOPED_TRACE(push);
    expect_reference({.partitions = 5,
                      .steps = 9,
                      .rate = 0x1p-7,
                      .rate_changes = true,
                      .push = push,
                      .feedback = true});
  }
}
// EF21-P: workers have what one loop over the partitions says, whoever they are.
TEST(ThreadsTest, WhatAPullLeavesOutComesWithTheNextOne) {
  for (const std::string pull :
       {"topk\nratio = 0.1", "sign", "int4", "randomk\nunbiased = false", "topk\nvalues = 8"}) {
    SCOPED_TRACE(pull);
    expect_reference_for_every_hosting({.partitions = 5, .pull = pull, .pull_feedback = true});
  }
  JobOptions both{.partitions = 5,
                  .workers = 2,
                  .servers = 2,
                  .push = "topk\nratio = 0.2",
                  .pull = "topk\nratio = 0.2",
                  .feedback = true,
                  .pull_feedback = true,
                  .exempt_below = 20,
                  .tcp = true,
                  .shared = true};
  EXPECT_EQ(expect_reference(both).shared_lanes, 0U);
  both.clip_norm = 0.5;
  expect_reference(both);
  both.clip_norm = 0;
  both.gate = "local";
  both.local_steps = 2;
  both.steps = 4;
  expect_reference(both);
}
TEST(ThreadsTest, DifferencesThatAreLostOrComeTwiceDoNoHarm) {
  for (const std::size_t shift : {0U, 1U, 17U, 64U, 100U, 300U}) {
    const Result result = expect_reference({.workers = 2,
                                            .servers = 2,
                                            .pull = "topk\nratio = 0.2",
                                            .pull_feedback = true,
                                            .tcp = true,
                                            .cuts = {2000 + shift, 2345 + 3 * shift, 2001}});
    EXPECT_GE(result.cuts, 2U);
  }
}
// All values of a chunk, as floats, through encoding and decoding: only zeros lose their sign.
TEST(ThreadsTest, ACompressorThatLosesNothingGivesTheBitsOfNone) {
  const JobOptions none{.partitions = 5, .workers = 2, .servers = 2};
  JobOptions all = none;
  all.push = "topk\nratio = 1.0";
  EXPECT_EQ(run(all).model, run(none).model);
}
TEST(ThreadsTest, NoiseIsAddedByEachPartition) {
  expect_reference_for_every_hosting({.partitions = 5, .noise = true});
}
TEST(ThreadsTest, NoiseComesBeforeTheEncoding) {
  expect_reference_for_every_hosting(
      {.partitions = 5, .lossy_push = true, .lossy_pull = true, .noise = true});
}

// As while partitions move: two workers host partitions 1 and 2, the second always comes first. The
// server has a part of each push of worker 0, which computes the rest again.
JobOptions overlapping() {
  return {.partitions = 4, .workers = 2, .servers = 2, .hosted = {{0, 3}, {1, 3}}, .in_turn = true};
}

TEST(ThreadsTest, APushOfWhichAPartIsThereIsRepeatedPartitionByPartition) {
  const JobOptions options = overlapping();
  const Result result = expect_reference(options);
  const Reference job = reference(options);
  const std::uint64_t vector = job.vector_bytes + 64 * job.chunks;
  // Two nodes each; worker 0 also repeats partition 0, in every step in which it comes second.
  EXPECT_GE(result.reports[0].traffic.push_bytes, (2 * options.steps + options.steps - 1) * vector);
  EXPECT_GE(result.duplicates, (options.steps - 1) * job.chunks);  // partition 2 by worker 0
}

// 31 training examples over 4 partitions: partition 0 has one less than the others, nothing in the
// last step of an epoch, and stands in one node with partition 1, which is there already.
TEST(ThreadsTest, AnExhaustedPartitionInsideARepeatedPushHangsNothing) {
  JobOptions options = overlapping();
  options.examples = 38;
  options.batch = 4;
  options.steps = 17;
  expect_reference(options);
}

// Without turns, any interleaving.
TEST(ThreadsTest, OverlappingHostsCountOnce) {
  JobOptions options = overlapping();
  options.in_turn = false;
  options.lanes = 2;
  for (int i = 0; i < 10; ++i) {
    expect_reference(options);
    options.examples = 37 + static_cast<std::uint64_t>(i);
  }
}

// Over loopback TCP with real handshakes; with clipping, servers tell each other their scalars.
TEST(ThreadsTest, TcpGivesTheSameBits) {
  expect_reference({.partitions = 4, .workers = 2, .servers = 2, .lanes = 2, .tcp = true});
}

// Shared memory: gradients are read and parameters used where they were written.
TEST(ThreadsTest, SharedMemoryGivesTheSameBits) {
  for (const std::uint32_t partitions : {4U, 5U, 13U}) {
    for (const std::uint32_t workers : {1U, 2U, 3U, 4U}) {
      for (const std::uint32_t lanes : {1U, 2U}) {
        const Result result = expect_reference({.partitions = partitions,
                                                .workers = workers,
                                                .servers = 2,
                                                .lanes = lanes,
                                                .batch = 26,
                                                .tcp = true,
                                                .shared = true});
        EXPECT_EQ(result.shared_lanes, workers * 2 * lanes);
      }
    }
  }
}
TEST(ThreadsTest, SharedMemoryCarriesEncodedAndNoisyPushes) {
  for (const bool noise : {false, true}) {
    expect_reference({.partitions = 8,
                      .workers = 2,
                      .servers = 2,
                      .lossy_push = !noise,
                      .noise = noise,
                      .tcp = true,
                      .shared = true});
  }
}
TEST(ThreadsTest, SharedMemoryCarriesClipping) {
  expect_reference({.partitions = 4,
                    .workers = 2,
                    .servers = 2,
                    .lanes = 2,
                    .clip_norm = 0.5,
                    .tcp = true,
                    .shared = true});
}
// What a worker decodes is not what lies in a server's memory: such pulls go over the network.
TEST(ThreadsTest, LossyPullsShareNothing) {
  const Result result = expect_reference({.lossy_pull = true, .tcp = true, .shared = true});
  EXPECT_EQ(result.shared_lanes, 0U);
}
TEST(ThreadsTest, WorkersOfSeveralHostsGiveTheSameBits) {
  const Result result = expect_reference({.partitions = 5,
                                          .workers = 3,
                                          .servers = 2,
                                          .lanes = 2,
                                          .tcp = true,
                                          .shared = true,
                                          .apart = 1});
  EXPECT_EQ(result.shared_lanes, 2U * 2 * 2);
}
// A push of which the server has a part is answered through the ring, and sent again in parts.
TEST(ThreadsTest, OverlappingHostsCountOnceInSharedMemory) {
  JobOptions options = overlapping();
  options.in_turn = false;
  options.tcp = options.shared = true;
  for (int i = 0; i < 10; ++i) {
    expect_reference(options);
    options.examples = 37 + static_cast<std::uint64_t>(i);
  }
}
// An answer about 2048 partitions takes 32 frames: a few of them are more than the ring has room
// for.
TEST(ThreadsTest, OverlappingHostsOfManyPartitionsCountOnceInSharedMemory) {
  JobOptions options = overlapping();
  options.in_turn = false;
  options.tcp = options.shared = true;
  options.partitions = 4096;
  options.hosted = {{0, 3072}, {1024, 3072}};
  options.examples = 5200;
  options.batch = 4096;
  options.steps = 3;
  expect_reference(options);
}

TEST(ThreadsTest, EncryptedConnectionsGiveTheSameBits) {
  for (const bool shared : {false, true}) {  // one worker of several shares nothing
    expect_reference({.partitions = 4,
                      .workers = 3,
                      .servers = 2,
                      .lanes = 2,
                      .clip_norm = 0.5,
                      .tcp = true,
                      .shared = shared,
                      .apart = shared ? 1U : 0U,
                      .tls = true});
  }
}
// Requests that were under way are sent again, and count once: in the middle of a frame and between
// two, with and without encryption and lossy codecs.
TEST(ThreadsTest, CutConnectionsAreMadeAgain) {
  JobOptions options{.partitions = 4, .workers = 2, .servers = 2, .lanes = 2, .tcp = true};
  for (const std::size_t shift : {0U, 1U, 17U, 64U, 100U, 1000U}) {
    options.cuts = {2000 + shift, 3000 + 3 * shift, 2500, 4000 + shift, 3333};
    const Result result = expect_reference(options);
    EXPECT_GE(result.cuts, 4U);  // each lane has at least the first one
  }
}

TEST(ThreadsTest, EncryptedConnectionsThatAreCutAreMadeAgain) {
  const Result result = expect_reference({.partitions = 4,
                                          .workers = 2,
                                          .servers = 2,
                                          .tcp = true,
                                          .tls = true,
                                          .cuts = {4000, 4567, 5001}});
  EXPECT_GE(result.cuts, 2U);
}

TEST(ThreadsTest, LossyConnectionsThatAreCutAreMadeAgain) {
  const Result result = expect_reference({.workers = 2,
                                          .servers = 2,
                                          .lossy_push = true,
                                          .lossy_pull = true,
                                          .tcp = true,
                                          .cuts = {2000, 2345, 2001}});
  EXPECT_GE(result.cuts, 2U);
}

TEST(ThreadsTest, ClippingSeesTheWholeGradientOverTwoServers) {
  for (const std::uint32_t lanes : {1U, 2U}) {
    JobOptions options{
        .partitions = 4, .workers = 2, .servers = 2, .lanes = lanes, .clip_norm = 0.5, .tcp = true};
    expect_reference(options);
    options.clip_norm = 0;
    const auto without = reference(options);
    options.clip_norm = 0.5;
    EXPECT_FALSE(same_bits(reference(options).model, without.model)) << "nothing was clipped";
  }
}
TEST(ThreadsTest, ClippingWorksOnOneServerOfSeveralLanes) {
  expect_reference({.partitions = 4, .workers = 3, .lanes = 2, .clip_norm = 0.5, .tcp = true});
}

// Frames of every push and pull, worked out from FORMAT.md: 64 bytes of header and the floats.
TEST(ThreadsTest, TrafficIsWhatTheFormatSays) {
  const JobOptions options{.partitions = 4, .workers = 2, .servers = 2, .lanes = 2};
  const Result result = run(options);
  const Reference job = reference(options);
  const std::uint64_t vector = job.vector_bytes + 64 * job.chunks;
  for (const worker::WorkerReport& report : result.reports) {
    EXPECT_EQ(report.steps, options.steps);
    EXPECT_EQ(report.traffic.push_bytes, options.steps * vector);
    EXPECT_EQ(report.traffic.push_bytes_raw, options.steps * vector);
    EXPECT_EQ(report.traffic.pull_bytes, (options.steps + 1) * vector);
    EXPECT_EQ(report.traffic.pull_bytes_raw, (options.steps + 1) * vector);
  }
  EXPECT_EQ(result.duplicates, 0U);
}

TEST(ThreadsTest, LossyTrafficIsCountedAsSentAndAsFloats) {
  const JobOptions options{.partitions = 4, .workers = 2, .lossy_push = true, .lossy_pull = true};
  const Result result = run(options);
  const Reference job = reference(options);
  const std::uint64_t headers = 64 * job.chunks;
  for (const worker::WorkerReport& report : result.reports) {  // two partitions each
    EXPECT_EQ(report.traffic.push_bytes, 2 * options.steps * (job.vector_bytes / 2 + headers));
    EXPECT_EQ(report.traffic.push_bytes_raw, 2 * options.steps * (job.vector_bytes + headers));
    EXPECT_EQ(report.traffic.pull_bytes, (options.steps + 1) * (job.vector_bytes / 2 + headers));
  }
}

// ---- gradients that are not finite --------------------------------------------------------------

// One row spoils the step that has it, in each epoch (or none, if it is held back for validation).
// Whoever hosts what, it is left out to
// the same bits: the whole step, or the partition of the row with its examples.
void expect_left_out(JobOptions options) {
  options.steps = 9;
  std::size_t left_out = 0;
  for (const std::uint64_t row : {0U, 17U, 41U}) {
    options.spoilt_row = row;
    const Reference expected = reference(options);
    left_out += expected.skipped.size() + expected.rejected.size();
    for (const std::uint32_t workers : {1U, 2U, 3U}) {
      options.workers = workers;
      for (const std::uint32_t servers : {1U, 2U}) {
        options.servers = servers;
        options.lanes = servers;
        options.tcp = true;  // step scalars go over links
        options.shared = workers == 2;
        const Result result = run(options);
        EXPECT_TRUE(same_bits(result.model, expected.model)) << "row " << row;
        EXPECT_EQ(result.skipped, expected.skipped);
        EXPECT_EQ(result.rejected, expected.rejected);
      }
    }
  }
  EXPECT_GE(left_out, 2U);
}
TEST(ThreadsTest, AStepThatIsNotFiniteIsSkippedByAllShards) {
  expect_left_out({.partitions = 4, .non_finite = optimization::NonFinite::skip});
}
TEST(ThreadsTest, SkippingGoesWithClipping) {
  expect_left_out({.partitions = 4, .clip_norm = 0.5, .non_finite = optimization::NonFinite::skip});
}
TEST(ThreadsTest, ARoundThatIsNotFiniteIsSkippedByAllShards) {
  expect_left_out({.partitions = 4,
                   .examples = 120,
                   .gate = "local",
                   .local_steps = 2,
                   .non_finite = optimization::NonFinite::skip});
}
TEST(ThreadsTest, APartitionThatIsNotFiniteIsRejectedByAllShards) {
  expect_left_out({.partitions = 5, .non_finite = optimization::NonFinite::reject});
}
TEST(ThreadsTest, ARoundOfAPartitionThatIsNotFiniteIsRejected) {
  expect_left_out({.partitions = 4,
                   .examples = 120,
                   .gate = "local",
                   .local_steps = 2,
                   .non_finite = optimization::NonFinite::reject});
}
TEST(ThreadsTest, RejectionComesBeforeTheEncoding) {
  expect_left_out(
      {.partitions = 4, .non_finite = optimization::NonFinite::reject, .lossy_push = true});
}
// What is computed again for a push of which a part is there is rejected again.
TEST(ThreadsTest, ARejectedPartitionInsideARepeatedPushHangsNothing) {
  JobOptions options = overlapping();
  options.non_finite = optimization::NonFinite::reject;
  std::size_t rejected = 0;
  for (const std::uint64_t row : {0U, 17U, 41U}) {
    options.spoilt_row = row;
    const Result result = expect_reference(options);
    EXPECT_EQ(result.rejected, reference(options).rejected);
    rejected += result.rejected.size();
  }
  EXPECT_GE(rejected, 2U);
}
// Where a push is a step, a push that is not finite is none; of one partition that is a step of
// bsp.
TEST(ThreadsTest, APushThatIsNotFiniteIsLeftOutWhereItIsAStep) {
  for (const std::string gate : {"ssp", "asp"}) {
    JobOptions options{.partitions = 1, .workers = 1, .servers = 2, .gate = gate};
    options.non_finite = optimization::NonFinite::reject;
    options.spoilt_row = 0;
    const Result result = expect_reference(options);
    EXPECT_GE(result.rejected.size(), 1U);
    EXPECT_EQ(result.rejected, reference(options).rejected);
  }
}

// ---- local steps --------------------------------------------------------------------------------

// Rounds are as steps of bsp: the same bits, whoever hosts what.
TEST(ThreadsTest, RoundsOfLocalStepsAreFunctionsOfTheirPartition) {
  for (const std::uint32_t local : {1U, 3U, 4U}) {
    expect_reference_for_every_hosting(
        {.partitions = 4, .steps = 6, .gate = "local", .local_steps = local});
  }
}
// Of the last round of an epoch some partitions have a part, and some nothing.
TEST(ThreadsTest, UnequalDataHangsNoRound) {
  expect_reference_for_every_hosting(
      {.partitions = 8, .examples = 37, .batch = 8, .steps = 9, .gate = "local", .local_steps = 3});
}
TEST(ThreadsTest, AWayThatIsPushedInPartIsGoneAgain) {
  JobOptions options = overlapping();
  options.in_turn = false;
  options.gate = "local";
  options.local_steps = 2;
  for (int i = 0; i < 5; ++i) {
    expect_reference(options);
    options.examples = 37 + static_cast<std::uint64_t>(i);
  }
}
TEST(ThreadsTest, LossyPushesCarryDifferences) {
  expect_reference_for_every_hosting(
      {.partitions = 5, .steps = 4, .gate = "local", .local_steps = 2, .lossy_push = true});
}
TEST(ThreadsTest, SharedMemoryCarriesRounds) {
  expect_reference({.partitions = 4,
                    .workers = 2,
                    .servers = 2,
                    .lanes = 2,
                    .gate = "local",
                    .local_steps = 4,
                    .tcp = true,
                    .shared = true});
}

// ---- where each push is a step ------------------------------------------------------------------

// Of one partition every push is a step in bsp, too: the same bits.
TEST(ThreadsTest, OnePartitionTrainsTheSameBehindEveryGate) {
  for (const std::string gate : {"ssp", "asp"}) {
    for (const bool shared : {false, true}) {
      expect_reference({.partitions = 1,
                        .workers = 1,
                        .servers = 2,
                        .lanes = 2,
                        .examples = 37,
                        .batch = 8,
                        .steps = 9,
                        .gate = gate,
                        .tcp = shared,
                        .shared = shared});
    }
  }
}

// Whatever the order of the pushes was, all workers evaluate and hand over one model, at the end of
// each epoch and of the job: the reported sums are those of that model. Behind `drop` each step
// goes without just one partition.
TEST(ThreadsTest, AllWorkersEvaluateTheSameModelBehindEveryGate) {
  for (const std::string gate : {"ssp", "asp", "drop"}) {
    for (const std::string over : {"pairs", "tcp", "memory", "both"}) {
      if (gate == "drop" && over == "pairs") continue;  // its servers speak to each other
      JobOptions options;
      options.gate = gate;
      options.partitions = 5;
      options.workers = 3;
      options.servers = 2;
      options.lanes = 2;
      options.examples = 403;
      options.batch = 32;
      options.steps = 120;
      // A fifth, where there are five times as many steps.
      options.rate = gate == "drop" ? 0.03 : 0.006;
      options.tcp = over != "pairs";
      options.shared = over == "memory" || over == "both";
      options.apart = over == "both" ? 1 : 0;
      const Result result = run(options);
      EXPECT_EQ(result.shared_lanes, over == "memory" ? 12U : over == "both" ? 8U : 0U);
      EXPECT_EQ(result.duplicates, 0U);
      EXPECT_EQ(result.dropped, gate == "drop" ? options.steps : 0);
      EXPECT_EQ(result.loss_reports, options.steps * options.partitions);
      for (const auto& report : result.reports) EXPECT_EQ(report.steps, options.steps);
      EXPECT_EQ(result.sums.at("train 120"), train_sums(options, result.model));
      EXPECT_LT(mean_of_10(result, 110), 0.5 * mean_of_10(result, 0));
    }
  }
}

// A rank that fails takes all others with it, and its fault is the one that is reported.
TEST(ThreadsTest, DivergenceEndsTheJob) {
  for (const bool tcp : {false, true}) {
    try {
      run({.workers = 3,
           .servers = 2,
           .lanes = 2,
           .steps = 200,
           .rate = 1e30,
           .tcp = tcp,
           .tls = tcp});
      FAIL() << "did not diverge";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::diverged) << error.message();
    }
  }
}

}  // namespace
}  // namespace sheaf::threads
