// Runs a job of threads and expects the bits of its serial reference, also for every way to host
// the same partitions. For tests.
#pragma once

#include <gmock/gmock.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "tests/cluster/threaded_job.h"

namespace sheaf::threads {

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline Result expect_reference(const JobOptions& options) {
  Result result = run(options);
  EXPECT_TRUE(same_bits(result.model, reference(options).model))
      << options.partitions << " partitions, " << options.workers << " workers, " << options.servers
      << " servers, " << options.lanes << " lanes";
  EXPECT_EQ(result.losses.size(), options.steps);
  // Of those without examples, too: rows of metrics wait for all.
  EXPECT_EQ(result.loss_reports, options.steps * options.partitions);
  return result;
}

// Every number of workers, servers and lanes that the seams may depend on.
inline void expect_reference_for_every_hosting(JobOptions options) {
  std::map<std::string, std::vector<double>> sums;
  for (const std::uint32_t workers : {1U, 2U, 3U, 4U}) {
    for (const std::uint32_t servers : {1U, 2U}) {
      for (const std::uint32_t lanes : {1U, 2U}) {
        options.workers = workers;
        options.servers = servers;
        options.lanes = lanes;
        const Result result = expect_reference(options);
        if (sums.empty()) sums = result.sums;
        EXPECT_FALSE(result.sums.empty());
        EXPECT_EQ(result.sums, sums);  // evaluations, too
      }
    }
  }
}

}  // namespace sheaf::threads
