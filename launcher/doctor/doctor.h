// `sheaf doctor`: finds before a job what would go wrong on its hosts. examine.h looks, diagnosis.h
// judges.
#pragma once

#include <iosfwd>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Writes a line for each finding, or with --json one object, to `out`. Returns exit_code() of the
// findings. Without a job it looks at this host alone. Throws what `sheaf check` would find.
int doctor(const DoctorCommand& command, std::ostream& out);

}  // namespace sheaf::launcher
