// Figures and paragraphs as a person reads them. Pure functions; ASCII in, ASCII out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/ids.h"

namespace sheaf::launcher {

std::string readable_figure(double value);        // 0.3412, 12.3400, 1.234e-05, nan
std::string readable_count(double count);         // 987, 20.2k, 1.23M
std::string readable_bytes(std::uint64_t bytes);  // 512 B, 438 kB, 1.29 GB (powers of 1000)
std::string readable_rate(double bytes_per_s);    // 12.3: megabytes per second, without the unit
std::string readable_duration(double seconds);    // 21.4 s, 3 min 20 s, 1 h 04 min
std::string readable_clock(double seconds);       // 0:12, 1:04:09; "?" if unknown (not finite)
std::string readable_partitions(PartitionRange);  // partition 3, partitions 0 to 3

// Breaks `text` at spaces into lines of at most `width` characters, each after `indent` spaces and
// with a newline. A longer word has a line of its own. Line breaks in the text stay.
std::string wrap(std::string_view text, std::size_t width, std::size_t indent);

}  // namespace sheaf::launcher
