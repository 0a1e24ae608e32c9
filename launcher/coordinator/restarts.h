// How often a job that has lost a process is started again, and after what pause. Plain code
// without a clock; used by one thread.
#pragma once

#include <cstdint>
#include <optional>

#include "common/base/clock.h"
#include "common/base/ids.h"

namespace sheaf::launcher {

class Restarts {
 public:
  // At most `most` starts in a row without a newer checkpoint between them.
  explicit Restarts(std::uint32_t most) : most_(most) {}

  // A process was lost; the job can go on from `newest` (nothing: from its beginning). Returns how
  // long to wait before that; nothing = often enough. The first in a row goes at once, each further
  // one after twice the pause of the one before: 1 s, 2 s, … 1 min.
  std::optional<Duration> next(std::optional<Step> newest);

  std::uint32_t in_a_row() const { return in_a_row_; }

 private:
  std::uint32_t most_;
  std::uint32_t in_a_row_ = 0;
  std::optional<Step> from_;  // where the last one went on
};

}  // namespace sheaf::launcher
