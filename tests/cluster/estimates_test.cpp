// EF21 with ranks as threads: real servers and workers against the serial reference, which works
// the estimates out from their definition.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "tests/cluster/every_hosting.h"

namespace sheaf::threads {
namespace {

// EF21: of a short last batch, and where partitions have used up their epoch, too; with a layer and
// small tensors that lose nothing.
TEST(EstimatesTest, ServersKnowOfEachGradientWhatAPartitionHasTold) {
  for (const std::string push :
       {"topk\nratio = 0.1", "sign", "int4", "randomk\nunbiased = false"}) {
    SCOPED_TRACE(push);
    for (const double momentum : {0.0, 0.9}) {
      expect_reference_for_every_hosting({.partitions = 5, .push = push, .estimates = momentum});
      expect_reference({.partitions = 8,
                        .examples = 37,
                        .batch = 8,
                        .steps = 9,
                        .push = push,
                        .estimates = momentum});
      expect_reference({.partitions = 5,
                        .examples = 51,  // 41 are 8 or 9 a partition, of which it takes 2 or 3
                        .steps = 9,
                        .push = push,
                        .estimates = momentum,
                        .exempt_below = 8,
                        .layers = {{"layers.0.*", "int8\nblock = 16"}},
                        .tcp = true,
                        .shared = true});
    }
  }
  JobOptions both{.partitions = 5,
                  .workers = 2,
                  .servers = 2,
                  .rate_changes = true,
                  .push = "topk\nratio = 0.2",
                  .pull = "topk\nratio = 0.2",
                  .estimates = 0.5,
                  .pull_feedback = true};
  expect_reference(both);
  both.spoilt_row = 7;
  both.non_finite = optimization::NonFinite::reject;
  EXPECT_FALSE(expect_reference(both).rejected.empty());
}

// What is sent again over another connection is added once.
TEST(EstimatesTest, WhatIsToldTwiceCountsOnce) {
  for (const std::size_t shift : {0U, 1U, 17U, 64U, 100U, 300U}) {
    const Result result = expect_reference({.workers = 2,
                                            .servers = 2,
                                            .push = "topk\nratio = 0.2",
                                            .estimates = 0.9,
                                            .tcp = true,
                                            .cuts = {2000 + shift, 2345 + 3 * shift, 2001}});
    EXPECT_GE(result.cuts, 2U);
  }
}

// Two epochs of usual steps alone: what loses nothing gives the model of no compression, but for
// what differences round.
TEST(EstimatesTest, WhatLosesNothingTrainsAsWithoutCompression) {
  const JobOptions none{.partitions = 4, .workers = 2, .servers = 2, .examples = 60};
  JobOptions all = none;
  all.push = "topk\nratio = 1.0";
  all.estimates = 0;
  const auto expected = reference(none).model, found = expect_reference(all).model;
  double largest = 0, apart = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    largest = std::max(largest, std::abs(double{expected[i]}));
    apart = std::max(apart, std::abs(double{expected[i]} - double{found[i]}));
  }
  EXPECT_LT(apart, 1e-5 * largest);
}

}  // namespace
}  // namespace sheaf::threads
