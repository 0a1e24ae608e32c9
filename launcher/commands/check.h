// `sheaf check`: all faults of a job at once. Opens the data as far as its schema; starts nothing.
#pragma once

#include <iosfwd>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Writes one fault a line to `err` and returns 2, or 3 if only the data is at fault. A job without
// faults gets "FILE: ok" on `out`, its notes on `err`, and 0. A file that cannot be read is a
// fault.
int check_job(const CheckCommand& command, std::ostream& out, std::ostream& err);

}  // namespace sheaf::launcher
