// What the processes of a job will keep in memory, before there are any.
#pragma once

#include <cstdint>

#include "launcher/config/run_config.h"

namespace sheaf::launcher {

struct MemoryPlan {
  std::uint64_t server = 0;  // bytes, of each
  std::uint64_t worker = 0;
};

// Servers: two versions and one in flight, the partial sums of the tree or, where each push is a
// step, a version that is on its way to each worker, and the optimizer's state (twice with a
// snapshot). Workers: two versions, the gradient, the replica of local steps, what pushes left out
// of each partition (before a step, after it, and in a checkpoint), and their part of the examples.
// Opens the data as far as its schema. REQUIRES: config.check() was ok.
// Without snapshots that are kept only if there is room.
MemoryPlan plan_memory(const RunConfig& config, std::uint64_t parameters);
// The same without the examples of workers, and without opening the data; with snapshots or not.
MemoryPlan plan_parameter_memory(const RunConfig& config, std::uint64_t parameters, bool snapshots);

}  // namespace sheaf::launcher
