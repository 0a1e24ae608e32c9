// An optimizer applies one aggregated gradient to one chunk: out = step(in, gradient, state).
// It is elementwise, so that a chunk's result never depends on how the vector is cut into chunks,
// servers or lanes. One object serves all chunks; it is const and thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "common/base/ids.h"
#include "common/base/mode.h"
#include "common/params/layout.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::optimization {

// What one step asks of an optimizer, for one range of one group.
struct OptimizerStep {
  Step step = 0;              // from 0; bias corrections use step + 1
  double gradient_scale = 1;  // the sum is multiplied by this first: 1 / examples, clipping
  double rate = 0;            // of this step, from the schedule
  params::Group group;        // scales of rate and decay
  bool streamed = false;      // the new version is written past the caches
};

class Optimizer {
 public:
  using Make = std::unique_ptr<Optimizer>(const config::Section& section);

  virtual ~Optimizer() = default;

  // How many floats of state it keeps per parameter (0 sgd, 1 momentum, 2 adam).
  virtual std::size_t state_per_parameter() const = 0;

  // Writes the parameters of the next version. `gradient` holds the sum. `state` holds
  // state_per_parameter() runs of in.size() floats, zero at first. Returns whether the gradient is
  // finite: if it is not, `out` and `state` are of no use any more. REQUIRES: in, gradient, out of
  // equal size; out overlaps nothing.
  virtual bool step(const OptimizerStep& step, std::span<const float> in,
                    std::span<const float> gradient, std::span<float> state,
                    std::span<float> out) const = 0;
};

// The same for any range: by `optimizer`, or by the descent that its group has of its own,
//   out = in - rate * (gradient_scale * sum - towards),
// or, of what is averaged, the mean itself,
//   out = gradient_scale * sum,
// which keep no state.
bool take_step(const Optimizer& optimizer, const OptimizerStep& step, std::span<const float> in,
               std::span<const float> gradient, std::span<float> state, std::span<float> out);

ModeTable<Optimizer> optimizers();

}  // namespace sheaf::optimization
