// A gate decides when pushed gradients are applied and which pulls are answered. The shard that
// asks does not know which consistency model it serves. Const and thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "common/base/ids.h"
#include "common/base/mode.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::server {

// What a chunk knows of the step that is being collected.
struct Arrivals {
  std::uint32_t covered = 0;     // partitions whose contribution has arrived (or that have none)
  std::uint32_t partitions = 0;  // of the job
};

class Gate {
 public:
  using Make = std::unique_ptr<Gate>(const config::Section& section);

  virtual ~Gate() = default;

  // True when what has arrived may become an optimizer step.
  virtual bool may_apply(const Arrivals& arrivals) const = 0;

  // Which version answers a pull by a partition at `clock` (it has finished `clock` steps), given
  // the readable versions [oldest, newest]; nothing = not yet.
  virtual std::optional<Version> answer(Step clock, Version oldest, Version newest) const = 0;
};

ModeTable<Gate> gates();

}  // namespace sheaf::server
