// The curves of `sheaf bench scaling` as one page that needs nothing else: no network, no script,
// no other file. A pure function.
#pragma once

#include <span>
#include <string>

#include "launcher/bench/scaling.h"

namespace sheaf::launcher {

// HTML with a chart of speed-ups, one of examples per second, and the table.
std::string scaling_page(const std::string& job, const std::string& build,
                         std::span<const ScalingRow> rows);

}  // namespace sheaf::launcher
