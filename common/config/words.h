// What a key holds and what it expects, in plain words for messages. Pure functions.
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <string>

#include "common/config/section.h"

namespace sheaf::config {

// A value alone, strings short and on one line. Empty for lists, tables and dates.
std::string value_words(const toml::node& node);
// The value and what it is: `"two" (a string)`, "a list".
std::string found_words(const toml::node& node);

// "an integer from 1 to 4096"
std::string expected_integer(const Bounds<std::int64_t>& bounds);
std::string expected_real(const Bounds<double>& bounds);
std::string expected_duration(const Bounds<std::int64_t>& milliseconds);

}  // namespace sheaf::config
