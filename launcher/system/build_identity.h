// Which program this is and what decides its float bits. Thread-safe.
#pragma once

#include <string>

#include "common/wire/handshake.h"

namespace sheaf::launcher {

// "0.1.0 (commit abc1234, g++ 12.2.0)"
std::string build_text();
// The linker's build id of the running program: equal for equal binaries.
wire::Digest build_digest();

// BLAS, its core and threads, our instruction set, the C library: readable, one line.
std::string numerics_text();

}  // namespace sheaf::launcher
