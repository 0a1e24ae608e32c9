// One partition's share of one step, ready for a model. Owns its memory, reused step after step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/base/aligned_buffer.h"

namespace sheaf::worker {

// What the examples look like. Class labels are targets too: one float holding 0, 1, 2, …
struct Schema {
  std::size_t features = 0;  // floats of input per example
  std::size_t targets = 0;   // floats of target per example
  bool bytes = false;        // inputs are whole numbers 0..255, kept as one byte each
  bool operator==(const Schema&) const = default;
};

struct Batch {
  std::size_t examples = 0;      // rows in use; 0 = this partition has nothing left in this epoch
  AlignedBuffer<float> inputs;   // (examples x features), normalised
  AlignedBuffer<float> targets;  // (examples x targets)
};

// A batch with room for `examples` rows.
inline Batch make_batch(std::size_t examples, const Schema& schema) {
  return {0, AlignedBuffer<float>(examples * schema.features),
          AlignedBuffer<float>(examples * schema.targets)};
}

}  // namespace sheaf::worker
