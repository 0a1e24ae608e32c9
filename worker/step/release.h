// What may leave a partition, in types. A gradient is clipped, then noised, then released; only a
// Releasable can be encoded or pushed, and only the functions below make one. After that everything
// is post-processing, and free.
//
//   Gradient --clip--> Clipped --noise--> Releasable --encode--> bytes
#pragma once

#include <span>

#include "common/privacy/mechanism.h"

namespace sheaf::worker {

// One chunk of one partition's (or, without noise, of several partitions') summed gradient.
class Clipped {
 public:
  // Without privacy nothing is clipped; a mechanism that needs clipping gets it from the model.
  explicit Clipped(std::span<float> values) : values_(values) {}

 private:
  friend class Releasable;
  std::span<float> values_;
};

class Releasable {
 public:
  // Adds the mechanism's noise, in place. REQUIRES: the values belong to key.partition alone if the
  // mechanism perturbs at the worker.
  static Releasable noised(Clipped clipped, const privacy::Mechanism& mechanism,
                           const privacy::NoiseKey& key) {
    if (mechanism.perturbs_at_worker()) mechanism.perturb(clipped.values_, key);
    return Releasable(clipped.values_);
  }
  std::span<const float> values() const { return values_; }

 private:
  explicit Releasable(std::span<const float> values) : values_(values) {}
  std::span<const float> values_;
};

}  // namespace sheaf::worker
