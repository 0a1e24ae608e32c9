// Values as TOML writes them, in one line that reads back to the same value. Pure functions.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::config {

// A basic string with its quotes.
std::string toml_text(std::string_view text);
// The shortest decimal that reads back to the same double, recognisable as a float.
std::string toml_text(double value);
std::string toml_text(std::int64_t value);
std::string toml_text(bool value);
std::string toml_text(const char*) = delete;  // would be read as a bool
// A duration is a string with its unit, "90s".
std::string toml_text(std::chrono::milliseconds value);

template <typename Value>
std::string toml_list(const std::vector<Value>& values) {
  std::string list = "[";
  for (const Value& value : values) {
    if (list.size() > 1) list += ", ";
    list += toml_text(value);
  }
  return list + "]";
}

}  // namespace sheaf::config
