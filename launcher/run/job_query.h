// Questions to the coordinator of a running job, from a command that can read its run directory.
// Each call makes a connection of its own, proves the key of the job, and ends within a limit.
#pragma once

#include <filesystem>
#include <optional>

#include "common/base/clock.h"
#include "common/wire/messages.h"

namespace sheaf::launcher {

// How the job stands. Nothing if no coordinator of this run directory can be reached, or if it
// leaves before it answers: the job has ended, or its supervisor has. Throws Fault::config if it is
// no run directory, Fault::auth if the coordinator refuses us, Fault::network if it does not answer
// or what it says is no answer.
std::optional<wire::Status> ask_status(const std::filesystem::path& run, Duration limit);

// Asks for another number of workers. What the coordinator says to that; `warning` = it refuses.
// Nothing and errors as above.
std::optional<wire::Log> ask_scale(const std::filesystem::path& run, const wire::Scale& scale,
                                   Duration limit);

}  // namespace sheaf::launcher
