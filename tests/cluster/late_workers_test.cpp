// Ranks as threads, one of which is late: others compute its part of a step, and the model has the
// bits of the serial reference.
#include <gmock/gmock.h>

#include <cstring>

#include "tests/cluster/threaded_job.h"

namespace sheaf::threads {
namespace {

// One worker computes nothing of three steps of four before others have done it for it. Every
// number of workers, servers and lanes, over sockets and shared memory.
void expect_stood_in(JobOptions options) {
  options.gate = "speculate";
  for (const std::uint32_t workers : {2U, 3U}) {
    for (const std::uint32_t late : {0U, workers - 1}) {
      options.workers = workers;
      options.servers = options.lanes = workers - 1;
      options.late = late;
      options.shared = late == 0;
      options.tcp = options.shared || options.clip_norm != 0;  // step scalars go over links
      const Result result = run(options);
      const std::vector<float> expected = reference(options).model;
      ASSERT_EQ(result.model.size(), expected.size());
      EXPECT_EQ(std::memcmp(result.model.data(), expected.data(), expected.size() * sizeof(float)),
                0)
          << workers << " workers";
      EXPECT_EQ(result.loss_reports, options.steps * options.partitions);
      EXPECT_GE(result.stood_in, options.steps / 4) << workers << " workers";
    }
  }
}
TEST(LateWorkersTest, WhoeverWaitsComputesForALateWorkerToTheSameBits) {
  for (const std::uint32_t partitions : {4U, 5U, 8U}) {
    expect_stood_in({.partitions = partitions, .examples = 240, .steps = 12});
  }
}
TEST(LateWorkersTest, APartitionThatHasNothingLeftIsNobodyToWaitFor) {
  expect_stood_in({.partitions = 8, .examples = 37, .batch = 8, .steps = 9});
}
TEST(LateWorkersTest, WhatIsEncodedIsTheSameWhoeverEncodesIt) {
  expect_stood_in({.partitions = 5, .examples = 240, .push = "int4\nrounding = 'stochastic'"});
  expect_stood_in(
      {.partitions = 5, .examples = 240, .lossy_push = true, .lossy_pull = true, .noise = true});
}
TEST(LateWorkersTest, WhoStandsInRejectsAndClipsAsWell) {
  JobOptions options{.partitions = 4, .non_finite = optimization::NonFinite::reject};
  options.spoilt_row = 17;
  expect_stood_in(options);
  expect_stood_in({.partitions = 4, .clip_norm = 0.5});
}

}  // namespace
}  // namespace sheaf::threads
