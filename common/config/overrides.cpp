#include <fmt/format.h>

#include "common/config/document_state.h"
#include "common/config/toml_text.h"
#include "common/config/words.h"

namespace sheaf::config {
namespace {

// A table whose only key, "value", holds what `text` says.
toml::table parse_override_value(std::string_view text) {
  try {
    toml::table table = toml::parse("value = " + std::string(text));
    if (table.size() == 1) return table;
  } catch (const toml::parse_error&) {
    // Not TOML: a bare word, a path, a duration.
  }
  return toml::table{{"value", std::string(text)}};
}

}  // namespace

toml::node* Document::State::open(toml::node& node, const PathStep& step, std::string& path,
                                  const Place& place) {
  const std::string around = path;
  const std::string_view wanted = step.key.empty() ? "a list" : "a table";
  path = step.key.empty() ? fmt::format("{}[{}]", path, step.index) : join_path(path, step.key);
  if (step.key.empty() ? !node.is_array() : !node.is_table()) {
    faults.add(place, path,
               fmt::format("found {} at {}, expected {}", found_words(node), around, wanted));
    return nullptr;
  }
  if (step.key.empty()) {
    toml::array& array = *node.as_array();
    if (step.index < array.size()) return array.get(step.index);
    faults.add(place, path,
               fmt::format("found place {} in a list of length {}, expected a place below {}",
                           step.index, array.size(), array.size()));
    return nullptr;
  }
  toml::table& table = *node.as_table();
  if (!table.contains(step.key)) {
    table.insert(step.key, toml::table{});
    overrides.push_back({path, place});
  }
  return table.get(step.key);
}

void Document::State::apply(std::string_view text, std::uint32_t number) {
  const Place place{true, number, 1};
  const std::size_t equals = text.find('=');
  const auto steps = parse_path(text.substr(0, equals));
  if (equals == std::string_view::npos || !steps) {
    faults.add(place, {},
               fmt::format("found {}, expected dotted.key=value, try optimizer.rate=0.01",
                           toml_text(text)));
    return;
  }
  std::string path;
  toml::node* parent = nullptr;
  toml::node* node = &root;
  for (const PathStep& step : *steps) {
    parent = node;
    node = open(*parent, step, path, place);
    if (node == nullptr) return;
  }
  const toml::table parsed = parse_override_value(text.substr(equals + 1));
  const toml::node& value = *parsed.get("value");
  if (const PathStep& last = steps->back(); last.key.empty()) {
    toml::array& array = *parent->as_array();
    array.replace(array.cbegin() + static_cast<std::ptrdiff_t>(last.index), value);
  } else {
    parent->as_table()->insert_or_assign(last.key, value);
  }
  overrides.push_back({path, place});
}

}  // namespace sheaf::config
