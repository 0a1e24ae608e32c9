// A mode is a file: modes/adam.cpp exports one constant, the build generates the family's table.
//
//   // common/optimization/modes/adam.cpp
//   extern const Mode<Optimizer> optimizer_adam = {"one line for `sheaf list`", &make_adam};
//
// A family is an abstract class with `using Make = std::unique_ptr<Family>(…)`, the signature with
// which its modes are built. A file that forgets its constant is a link error.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf {

template <typename Family>
struct Mode {
  std::string_view description;
  typename Family::Make* make;
};

template <typename Family>
struct ModeEntry {
  std::string_view name;
  const Mode<Family>* mode;
};

template <typename Family>
using ModeTable = std::span<const ModeEntry<Family>>;

// The mode called `name`, or null.
template <typename Family>
const Mode<Family>* find_mode(ModeTable<Family> table, std::string_view name) {
  for (const auto& entry : table) {
    if (entry.name == name) return entry.mode;
  }
  return nullptr;
}

// The words that a config may use for this family, in alphabetical order.
template <typename Family>
std::vector<std::string_view> mode_names(ModeTable<Family> table) {
  std::vector<std::string_view> names;
  for (const auto& entry : table) names.push_back(entry.name);
  return names;
}

}  // namespace sheaf
