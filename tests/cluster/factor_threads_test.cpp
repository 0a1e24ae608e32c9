// Jobs whose pushes are factors (PowerSGD), ranks as threads: the bits of one loop over the
// partitions, which knows no code of factors (serial_powersgd.h).
#include <gmock/gmock.h>

#include "tests/cluster/every_hosting.h"
#include "tests/cluster/threaded_job.h"

namespace sheaf::threads {
namespace {

// PowerSGD, the sums of both rounds through the servers: what one loop over the partitions says.
// Chunks of 32 floats are matrices of rows of 6, 9 or 7 that begin and end within a row, or, where
// factors would be no fewer, floats.
TEST(FactorThreadsTest, FactorsAreThoseOfAllPartitionsTogether) {
  const JobOptions factors{.partitions = 5, .push = "powersgd\nrank = 1", .feedback = true};
  EXPECT_NE(reference(factors).model, reference({.partitions = 5}).model);
  expect_reference_for_every_hosting(factors);
  // Partitions have no examples in some steps.
  expect_reference({.partitions = 8,
                    .examples = 37,
                    .batch = 8,
                    .steps = 9,
                    .push = factors.push,
                    .feedback = true});
  JobOptions both = factors;
  both.servers = 2;
  both.tcp = both.shared = true;
  EXPECT_GT(expect_reference(both).shared_lanes, 0U);
  both.pull = "topk\nratio = 0.2";
  both.pull_feedback = true;
  expect_reference(both);
  both.pull_feedback = both.shared = false;
  both.pull = "int8";
  both.exempt_below = 60;  // the first of two tensors that are matrices
  both.layers = {{"*.bias", "int8\nblock = 16"}};
  expect_reference(both);
}
TEST(FactorThreadsTest, RoundsThatAreCutAndSentAgainCountOnce) {
  for (const std::size_t shift : {0U, 1U, 17U, 64U, 100U, 300U}) {
    const Result result = expect_reference({.workers = 2,
                                            .servers = 2,
                                            .push = "powersgd\nrank = 1",
                                            .feedback = true,
                                            .tcp = true,
                                            .cuts = {2000 + shift, 2345 + 3 * shift, 2001}});
    EXPECT_GE(result.cuts, 2U);
  }
}

}  // namespace
}  // namespace sheaf::threads
