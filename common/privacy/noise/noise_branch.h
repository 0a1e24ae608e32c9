// Where steps share noise: the steps from `first` on, up to the next branch, have white noise of
// that name. Each time that ranks begin a branch begins, so that what is taken again has noise of
// its own. Plain values.
#pragma once

#include <string>

#include "common/base/ids.h"

namespace sheaf::privacy {

struct NoiseBranch {
  Step first = 0;
  std::string name;  // no secret; never used twice in a run
  bool operator==(const NoiseBranch&) const = default;
};

}  // namespace sheaf::privacy
