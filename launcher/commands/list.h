// `sheaf list`: every mode with one line each. Reads the generated mode tables alone.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// The families by the words that a job file uses, in the order of the data path.
std::vector<std::string> family_names();

// Writes "family<TAB>name<TAB>description" lines to `out` and returns 0; an unknown family is one
// line on `err` and 2.
int list_modes(const ListCommand& command, std::ostream& out, std::ostream& err);

}  // namespace sheaf::launcher
