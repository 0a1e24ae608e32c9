// What a worker pays for its data, without any server: for taking it in partitions, and for taking
// it at all. All figures compare ways to do the same work, by turns, so that drift of the machine
// cancels.
#pragma once

#include <cstdint>
#include <map>

#include "launcher/config/run_config.h"

namespace sheaf::launcher {

// The medians of three loops of a gradient and an optimizer over batches of the same size, against
// each other. REQUIRES: one worker, one partition.
struct LoopPrices {
  double partition = 1;  // a worker's loop over one partition / a plain loop that knows of none
  double data = 1;       // the plain loop over batches from the data / over one batch in memory
};
LoopPrices loop_prices(const RunConfig& config);

// Many partitions against one: by P, the compute of a batch in P equal shares and their sums, over
// that of the batch in one piece.
struct PartitionPrices {
  double alone_seconds = 0;  // of P = 1
  std::map<std::uint32_t, double> price;
};
PartitionPrices prices_of_p(const RunConfig& config);

}  // namespace sheaf::launcher
