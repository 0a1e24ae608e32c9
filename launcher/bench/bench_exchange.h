// `sheaf bench exchange`: how fast gradients are pushed and parameters pulled between processes of
// this host, over loopback TCP and through shared memory, against what sockets and memory do here.
#pragma once

#include <iosfwd>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Prints a table, or with --json one object; docs/performance.md says what each figure is. Returns
// 0, or 1 if the parameters were not what the formula says.
int bench_exchange(const ExchangeCommand& command, std::ostream& out);

}  // namespace sheaf::launcher
