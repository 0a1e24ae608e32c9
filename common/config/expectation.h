// What a key expects, in plain words for messages: "an integer from 1 to 4096". Pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "common/config/section.h"

namespace sheaf::config {

std::string expected_integer(const Bounds<std::int64_t>& bounds);
std::string expected_real(const Bounds<double>& bounds);
std::string expected_duration(const Bounds<std::int64_t>& milliseconds);

}  // namespace sheaf::config
