// Looks at the hosts of a job before there are ranks: starts a probe on each, the way mpirun will
// start its daemons, and asks. What it sees is judged elsewhere (diagnosis.h).
#pragma once

#include "launcher/config/command_line.h"
#include "launcher/config/run_config.h"
#include "launcher/doctor/diagnosis.h"

namespace sheaf::launcher {

Examination examine_this_host();

// Waits at most some seconds for a host that does not answer, a minute for one that opens its data.
// Throws Fault::config if the hostfile cannot be read. REQUIRES: config is of `job`, and sound.
Examination examine_hosts(const RunConfig& config, const JobArguments& job);

// What lies between the hosts alone: ranks, cores and links. The same waits and throws.
Examination examine_links(const RunConfig& config, const JobArguments& job);

}  // namespace sheaf::launcher
