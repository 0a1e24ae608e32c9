// A privacy mechanism perturbs a clipped gradient before it leaves its partition.
// The types carry the order: only a Clipped can be noised, only a Noised can be encoded.
#pragma once

#include <memory>
#include <span>

#include "common/base/ids.h"
#include "common/base/mode.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::privacy {

// Names one perturbation: the same name on the same input releases the same value.
struct NoiseKey {
  Step step = 0;
  std::uint32_t partition = 0;
  std::uint32_t chunk = 0;
};

class Mechanism {
 public:
  using Make = std::unique_ptr<Mechanism>(const config::Section& section);

  virtual ~Mechanism() = default;

  // False: the worker adds nothing, partitions may be pre-summed, and perturb is never called.
  virtual bool perturbs_at_worker() const = 0;

  // Adds this partition's noise to one chunk of its gradient, in place. Const and thread-safe.
  virtual void perturb(std::span<float> values, const NoiseKey& key) const = 0;
};

ModeTable<Mechanism> mechanisms();

}  // namespace sheaf::privacy
