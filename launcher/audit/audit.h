// `sheaf audit`: trains a private job once with canaries among its examples, and holds what its
// releases tell of them against what the accountant says.
#pragma once

#include <iosfwd>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Writes one figure a line, or one JSON object with --json, to `out`. Returns 0 if no lower bound
// lies above the accountant's epsilon, else 1, with a line on `err`. Throws Fault::config if the
// job has faults, or no privacy that is audited, and what ended the job, if it failed.
int audit_job(const AuditCommand& command, std::ostream& out, std::ostream& err);

}  // namespace sheaf::launcher
