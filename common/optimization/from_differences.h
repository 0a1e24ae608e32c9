// The servers' half of EF21 (common/compression/estimate_feedback.h): an optimizer that is given
// what is new in a gradient, in the place of the gradient. Of each parameter it keeps the sum G of
// all that came, behind the state of the optimizer that takes the steps:
//
//   G = G + news;  out = step(in, G / examples, state)
//
// The sum of a usual step is over `examples`, whatever one step has: OptimizerStep::gradient_scale
// is not for it, and a step without news is none. As G is state, it is where state is, in
// snapshots, replicas and checkpoints, and comes with it to the same bits.
#pragma once

#include <cstdint>
#include <memory>

#include "common/optimization/optimizer.h"

namespace sheaf::optimization {

// REQUIRES: examples > 0.
std::unique_ptr<Optimizer> from_differences(std::unique_ptr<Optimizer> optimizer,
                                            std::uint64_t examples);

}  // namespace sheaf::optimization
