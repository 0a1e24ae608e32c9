// kind = "auto": finds the compressor that pays on the job's own hosts and puts its name in the
// place of the word, once, before any rank starts. So ranks, RUN/config.toml and checkpoints know
// it by its name, and a job that goes on keeps it.
#pragma once

#include <functional>
#include <string_view>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// The same command with an override for each direction that leaves the choice; of a job that starts
// nothing, or leaves none, as it is. Takes some seconds: hosts are reached the way mpirun will.
// What was measured and chosen is said, a line for each direction. Throws Fault::config if the job
// has faults.
TrainCommand with_compressors(TrainCommand command,
                              const std::function<void(std::string_view)>& say);

}  // namespace sheaf::launcher
