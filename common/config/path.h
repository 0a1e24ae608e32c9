// Dotted paths to the keys of a job file: "model.layers[1].units". Pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::config {

// One part of a path: a key, or a place in an array.
struct PathStep {
  std::string key;
  std::size_t index = 0;  // counts if the key is empty
};

// Nothing if `path` is no dotted path of bare keys and places.
std::optional<std::vector<PathStep>> parse_path(std::string_view path);

// "model.layers[1]" and "units" give "model.layers[1].units"; either may be empty.
std::string join_path(std::string_view path, std::string_view key);

// The path of the table around a key, and of the array around a place; empty for the root.
std::string_view parent_path(std::string_view path);

// True if `path` is `ancestor` or lies below it: "a.b[2].c" lies below "a.b".
bool lies_within(std::string_view path, std::string_view ancestor);

// "model.layers[1].units" -> "model.layers[].units"
std::string without_places(std::string_view path);

}  // namespace sheaf::config
