// Samples, clipping and noise in jobs whose ranks are threads, against the serial reference.
#include <gmock/gmock.h>

#include "tests/cluster/every_hosting.h"

namespace sheaf::threads {
namespace {

// Samples of 0 to some examples for each of 5 partitions: who draws none pushes zeros, and counts
// for as much as ever.
TEST(ThreadsTest, SamplesOfAnySizeGiveTheBitsOfTheReferenceForEveryHosting) {
  expect_reference_for_every_hosting({.partitions = 5, .batch = 7, .poisson = true});
}
TEST(ThreadsTest, SamplesAreTakenWherePartitionsAreRejectedOrEncodeTheirPushes) {
  expect_reference({.partitions = 5,
                    .batch = 7,
                    .poisson = true,
                    .non_finite = optimization::NonFinite::reject});
  expect_reference({.partitions = 5, .batch = 7, .poisson = true, .push = "int8"});
}

// Clipped sums, the noise of servers or partitions, samples of any size: the same bits whoever
// hosts what, over sockets and shared memory. Losses, and what the model gives on what is
// protected, are told nobody.
TEST(ThreadsTest, PrivateTrainingGivesTheBitsOfTheReferenceForEveryHosting) {
  for (const std::string privacy : {"central", "local"}) {
    SCOPED_TRACE(privacy);
    const JobOptions options{.partitions = 5, .batch = 7, .poisson = true, .privacy = privacy};
    expect_reference_for_every_hosting(options);
    JobOptions shared = options;
    shared.workers = 3;
    shared.tcp = shared.shared = true;
    const Result result = expect_reference(shared);
    EXPECT_THAT(result.losses, testing::Each(testing::IsNan()));
    for (const auto& [tag, sums] : result.sums)
      EXPECT_THAT(tag, testing::Not(testing::StartsWith("train")));
  }
}
// Each server makes the noise of the steps before again, in its own chunks.
TEST(ThreadsTest, NoiseThatStepsShareGivesTheBitsOfTheReferenceForEveryHosting) {
  const JobOptions options{.partitions = 5, .batch = 7, .privacy = "correlated"};
  expect_reference_for_every_hosting(options);
  JobOptions shared = options;
  shared.workers = 3;
  shared.tcp = shared.shared = true;
  expect_reference(shared);
}
// The bound of each step is a parameter: whoever reads it has the same bits.
TEST(ThreadsTest, ABoundThatAdaptsGivesTheBitsOfTheReferenceForEveryHosting) {
  for (const std::string privacy : {"central", "local", "correlated"}) {
    SCOPED_TRACE(privacy);
    JobOptions options{.partitions = 5, .batch = 7, .privacy = privacy, .adaptive = true};
    options.poisson = privacy != "correlated";
    expect_reference_for_every_hosting(options);
    options.workers = 3;
    options.tcp = options.shared = true;
    EXPECT_NE(expect_reference(options).model.back(), 0);
  }
}
// 20 users of 1 to several examples; a step has 3 of each at most.
TEST(ThreadsTest, UsersAreProtectedToTheBitsOfTheReferenceForEveryHosting) {
  for (const std::string privacy : {"central", "local"}) {
    SCOPED_TRACE(privacy);
    JobOptions options{
        .partitions = 5, .batch = 7, .poisson = true, .privacy = privacy, .users = 20};
    expect_reference_for_every_hosting(options);
    options.workers = 3;
    options.tcp = options.shared = true;
    expect_reference(options);
    options.adaptive = true;
    expect_reference(options);
  }
}
TEST(ThreadsTest, WhatIsNoisedByItsPartitionMayBeEncoded) {
  expect_reference(
      {.partitions = 5, .batch = 7, .poisson = true, .push = "int8", .privacy = "local"});
  expect_reference({.partitions = 5,
                    .batch = 7,
                    .poisson = true,
                    .push = "topk\nratio = 0.3",
                    .feedback = true,
                    .privacy = "local"});
}

}  // namespace
}  // namespace sheaf::threads
