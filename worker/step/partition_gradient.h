// The gradient of one partition's batch, clipped example by example where the job's mechanism says
// so: the only maker of Clipped (release.h). Belongs to the compute thread. What it borrows
// outlives it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "common/privacy/mechanism.h"
#include "worker/models/model.h"
#include "worker/step/release.h"

namespace sheaf::worker {

class PartitionGradient {
 public:
  PartitionGradient(Model& model, const privacy::Mechanism& mechanism)
      : model_(model), clip_(mechanism.clip()) {}

  bool clips() const { return clip_.has_value(); }
  // Allocates for batches of so many examples; a larger one, of a sample, does so by itself.
  void reserve(std::size_t examples) {
    if (clip_) {
      model_.reserve_clipping(examples);
    } else {
      model_.reserve(examples);
    }
  }

  // Leaves the sum in `into` and returns that of the losses; see Model. Where examples are clipped
  // the losses are theirs alone, and 0 is returned: nobody may learn them.
  double compute(std::span<const float> parameters, const Batch& batch, const PassKey& key,
                 std::span<float> into, PassObserver* observer) {
    reserve(batch.examples);  // a sample may be larger than expected
    if (!clip_) return model_.gradient(parameters, batch, key, into, observer);
    model_.clipped_gradient(parameters, batch, key, *clip_, into, observer);
    return 0;
  }

  // A chunk of what was computed, or of sums of that. REQUIRES: nothing else is in it.
  Clipped chunk(std::span<float> values) const { return Clipped(values); }

 private:
  Model& model_;
  std::optional<privacy::Clip> clip_;
};

}  // namespace sheaf::worker
