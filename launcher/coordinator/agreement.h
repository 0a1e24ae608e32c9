// Whether the ranks of a job fit together, once all have registered: the same data, the same model,
// the same bits of floats. Pure; thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/wire/messages.h"

namespace sheaf::launcher {

struct Agreement {
  std::optional<wire::Failure> misfit;  // why the job cannot begin; its phase is left to the caller
  std::vector<std::string> warnings;    // ranks whose float bits differ from those of worker 0
};

// All are held against worker 0. `deterministic`: other float bits are no warning but a misfit.
// REQUIRES: worker 0 is among them.
Agreement compare(const std::map<ProcessId, wire::Registration>& registrations, bool deterministic);

// The same tensors in the same order, in groups that mean the same.
bool same_layout(const params::Layout& a, const params::Layout& b);
// Of a checkpoint, and of the job that was to go on from it: "another model than …". REQUIRES: they
// are not the same.
std::string what_differs(const params::Layout& saved, const params::Layout& wanted);

}  // namespace sheaf::launcher
