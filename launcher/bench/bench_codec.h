// `sheaf bench codec`: what compressors cost and what they save. Each encodes and adds chunks of
// 256 KiB that are warm in the second cache, and 64 MiB, beside `y += x` of the same run.
#pragma once

#include <iosfwd>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {

// Prints a table, or with --json one object; docs/compression.md says what each figure is. Throws
// Fault::config if the command names a compressor or an option that does not exist. Returns 0.
int bench_codec(const CodecCommand& command, std::ostream& out);

}  // namespace sheaf::launcher
