#include "common/config/path.h"

#include <charconv>
#include <system_error>

namespace sheaf::config {
namespace {

bool is_key_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

// "[12]" at the start of `text`: the number, and how many characters it took.
std::optional<std::pair<std::size_t, std::size_t>> parse_place(std::string_view text) {
  const std::size_t close = text.find(']');
  if (close == std::string_view::npos) return std::nullopt;
  std::size_t index = 0;
  const char* end = text.data() + close;
  const auto [rest, error] = std::from_chars(text.data() + 1, end, index);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return std::pair{index, close + 1};
}

}  // namespace

std::optional<std::vector<PathStep>> parse_path(std::string_view path) {
  std::vector<PathStep> steps;
  while (!path.empty()) {
    if (path.front() == '[') {
      const auto place = parse_place(path);
      if (!place || steps.empty()) return std::nullopt;
      steps.push_back({{}, place->first});
      path.remove_prefix(place->second);
      continue;
    }
    if (!steps.empty()) {
      if (path.front() != '.') return std::nullopt;
      path.remove_prefix(1);
    }
    std::size_t length = 0;
    while (length < path.size() && is_key_character(path[length])) ++length;
    if (length == 0) return std::nullopt;
    steps.push_back({std::string(path.substr(0, length)), 0});
    path.remove_prefix(length);
  }
  if (steps.empty()) return std::nullopt;
  return steps;
}

std::string join_path(std::string_view path, std::string_view key) {
  if (path.empty() || key.empty()) return std::string(path.empty() ? key : path);
  return std::string(path) + '.' + std::string(key);
}

std::string_view parent_path(std::string_view path) {
  const std::size_t cut = path.find_last_of(".[");
  return cut == std::string_view::npos ? std::string_view{} : path.substr(0, cut);
}

bool lies_within(std::string_view path, std::string_view ancestor) {
  if (ancestor.empty()) return true;
  if (!path.starts_with(ancestor)) return false;
  if (path.size() == ancestor.size()) return true;
  return path[ancestor.size()] == '.' || path[ancestor.size()] == '[';
}

std::string without_places(std::string_view path) {
  std::string name;
  bool inside = false;
  for (char c : path) {
    if (c == ']') inside = false;
    if (!inside) name += c;
    if (c == '[') inside = true;
  }
  return name;
}

}  // namespace sheaf::config
