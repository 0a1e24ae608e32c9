// What it costs to cut the data into partitions: two prices of one worker's compute, without any
// server. Both compare ways to do the same work, by turns, so that drift of the machine cancels.
#pragma once

#include <cstdint>
#include <map>

#include "launcher/run_config.h"

namespace sheaf::launcher {

// One partition against none: the median step of a worker that hosts all data as one partition,
// over that of a plain loop of Model::gradient and Optimizer::step over one batch in memory.
// REQUIRES: one worker, one partition.
double partition_price(const RunConfig& config);

// Many partitions against one: by P, the compute of a batch in P equal shares and their sums, over
// that of the batch in one piece.
struct PartitionPrices {
  double alone_seconds = 0;  // of P = 1
  std::map<std::uint32_t, double> price;
};
PartitionPrices prices_of_p(const RunConfig& config);

}  // namespace sheaf::launcher
