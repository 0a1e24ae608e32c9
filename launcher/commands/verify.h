// `sheaf verify`: are the checkpoints of a run directory what they were when they were written, and
// did the job keep the bounds of its consistency model, if it wrote a trace?
#pragma once

#include <iosfwd>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Reads every byte of every checkpoint and trace. Writes a line for each (for a damaged checkpoint
// a line for each block), and for each file that belongs to none, or with --json one object, to
// `out`. Returns 0, or 5 if anything is damaged, whatever older checkpoint is not, or 1 if a trace
// broke a bound, or 2 with a line in `err` if it is no run directory. Throws Fault::data if there
// is no way to look.
int verify_run(const VerifyCommand& command, std::ostream& out, std::ostream& err);

}  // namespace sheaf::launcher
