// Durations as a job file writes them: "250ms", "30s", "5m", "2h". Pure functions.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace sheaf::config {

// A whole number and a unit, without blanks; nothing if `text` is anything else or overflows.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

// The same in the largest unit that divides it: "90s", "1500ms". parse_duration reads it back.
std::string to_text(std::chrono::milliseconds duration);

}  // namespace sheaf::config
