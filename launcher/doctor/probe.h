// `sheaf probe`: what `sheaf doctor` starts on each host of a job, the way mpirun starts its own
// daemons there. Answers the questions that come in, a line each, until the input ends.
#pragma once

#include <iosfwd>

namespace sheaf::launcher {

// Returns 0.
int probe(std::istream& in, std::ostream& out);

}  // namespace sheaf::launcher
