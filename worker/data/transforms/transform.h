// A transform of the inputs of an example, done once, when the example is loaded. The family behind
// [data.transform] kind. What it makes of an example depends on that example alone: it learns
// nothing from others, so it costs no privacy, and any process makes the same bits of a row.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "common/base/mode.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::worker {

class Transform {
 public:
  // Reads its keys and, if `features` (floats of input per example) is not 0, checks them against
  // that; what is wrong is a fault of the section. Null: inputs stay as they are. After a fault the
  // result is for nothing but more faults.
  using Make = std::unique_ptr<Transform>(const config::Section& section, std::size_t features);

  virtual ~Transform() = default;

  // Floats per example afterwards.
  virtual std::size_t outputs() const = 0;

  // One example. Finite inputs give finite outputs. Not thread-safe: it may use memory of its own.
  // REQUIRES: as many inputs as it was made for, outputs() outputs.
  virtual void apply(std::span<const float> inputs, std::span<float> outputs) = 0;
};

ModeTable<Transform> transforms();

}  // namespace sheaf::worker
