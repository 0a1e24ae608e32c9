// What a run directory says of a job whose supervisor has died: who of it may still be at work, and
// how to be found by them.
#pragma once

#include <filesystem>

#include "launcher/supervision/attempt.h"

namespace sheaf::launcher {

// Throws Fault::config if no job has begun in that directory, or if it has ended.
void require_running(const std::filesystem::path& run);
// The processes of that job. Throws Fault::config if it is known that none of them is left.
// REQUIRES: its lock is held.
Orphans find_orphans(const std::filesystem::path& run);

}  // namespace sheaf::launcher
