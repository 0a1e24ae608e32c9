#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <system_error>

#include "common/base/error.h"
#include "common/config/document_state.h"
#include "common/config/suggest.h"
#include "common/config/toml_text.h"

namespace sheaf::config {
namespace {

Place place_of(const toml::node& node) {
  const toml::source_position& begin = node.source().begin;
  return begin ? Place{false, begin.line, begin.column} : Place{};
}

std::string read_file(const std::filesystem::path& file) {
  const auto cannot = [&](int error) {
    fail(Fault::config, "cannot read {}: {}", file.string(), std::strerror(error));
  };
  if (std::error_code ignored; std::filesystem::is_directory(file, ignored)) cannot(EISDIR);
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) cannot(errno);
  std::string text(std::istreambuf_iterator<char>(stream), {});
  if (stream.bad()) cannot(errno);
  return text;
}

// "data" -> "[data]", "model.layers[]" -> "[[model.layers]]"
// The path as an override can say it: "model.layers[].units" -> "model.layers[0].units".
std::string first_of(std::string path) {
  for (std::size_t at = path.find("[]"); at != path.npos; at = path.find("[]", at)) {
    path.insert(at + 1, "0");
  }
  return path;
}

std::string header_of(std::string_view path) {
  if (!path.ends_with("[]")) return fmt::format("[{}]", path);
  return fmt::format("[[{}]]", path.substr(0, path.size() - 2));
}

}  // namespace

void Document::State::parse(std::string_view text) {
  try {
    root = toml::parse(text);
  } catch (const toml::parse_error& error) {
    const toml::source_position& begin = error.source().begin;
    faults.add({false, begin.line, begin.column}, {}, std::string(error.description()));
    faults.close();
  }
}

std::unique_ptr<Document::State> Document::State::make(
    std::string_view text, std::string_view file, std::span<const std::string> override_texts) {
  auto state = std::make_unique<State>(file);
  state->parse(text);
  std::uint32_t number = 0;
  for (const std::string& override_text : override_texts) state->apply(override_text, ++number);
  return state;
}

const toml::node* Document::State::find(std::string_view path) const {
  const toml::node* node = &root;
  if (path.empty()) return node;
  const auto steps = parse_path(path);
  if (!steps) return nullptr;
  for (const PathStep& step : *steps) {
    if (step.key.empty()) {
      node = node->is_array() ? node->as_array()->get(step.index) : nullptr;
    } else {
      node = node->is_table() ? node->as_table()->get(step.key) : nullptr;
    }
    if (node == nullptr) return nullptr;
  }
  return node;
}

Place Document::State::place(std::string_view path) const {
  const bool missing = find(path) == nullptr;
  while (find(path) == nullptr) path = parent_path(path);
  // The last override that reaches this key counts: it gave the value.
  for (auto it = overrides.rbegin(); it != overrides.rend(); ++it) {
    if (lies_within(path, it->path)) return it->place;
  }
  if (missing || path.empty() || path.ends_with(']')) return place_of(*find(path));
  // The key says more than its value: it is what a reader looks for.
  const toml::table& table = *find(parent_path(path))->as_table();
  const std::size_t dot = path.rfind('.');
  const std::string_view key = dot == std::string_view::npos ? path : path.substr(dot + 1);
  const toml::source_position& begin = table.find(key)->first.source().begin;
  return {false, begin.line, begin.column};
}

void Document::State::reject(std::string_view path, std::string_view found,
                             std::string_view expected, std::string_view attempt) {
  std::string text = fmt::format("found {}, expected {}", found, expected);
  if (!attempt.empty()) text += fmt::format(", try {}", attempt);
  faults.add(place(path), std::string(path), text);
}

void Document::State::reject_unknown_key(const toml::node& node, const std::string& path,
                                         std::string_view key, bool kind_is_sound) {
  std::vector<std::string> known = asked.keys(path);
  const std::string expected = known.empty() ? "no key here" : join_words(known);
  // A misspelt key leaves its own place empty: those first among equals.
  const auto present = std::stable_partition(
      known.begin(), known.end(),
      [&](const std::string& candidate) { return find(join_path(path, candidate)) == nullptr; });
  // `kind` decides which keys a table has: without it only near misses can be judged.
  if (!kind_is_sound) known.erase(present, known.end());
  const std::optional<std::string> near = nearest(key, known);
  if (!kind_is_sound && !near) return;

  const std::vector<std::string> elsewhere = asked.tables_with(key);
  std::string attempt;
  if (elsewhere.size() == 1 && !(near && edit_distance(key, *near) < 2)) {
    attempt = place(join_path(path, key)).from_override
                  ? first_of(join_path(elsewhere.front(), key))
                  : fmt::format("moving it: it belongs under {}", header_of(elsewhere.front()));
    faults.forgive_missing(join_path(elsewhere.front(), key));
  } else if (near) {
    attempt = *near;
    faults.forgive_missing(join_path(path, *near));
  }
  const std::string shown = parse_path(key) ? std::string(key) : toml_text(key);
  reject(join_path(path, shown), node.is_table() ? "an unknown table" : "an unknown key", expected,
         attempt);
}

void Document::State::reject_unknown(const toml::table& table, const std::string& path) {
  const bool kind_is_sound = !faults.concerns(join_path(path, "kind"));
  for (const auto& [key, node] : table) {
    if (!asked.knows(path, key.str())) {
      reject_unknown_key(node, path, key.str(), kind_is_sound);
      continue;
    }
    const std::string full = join_path(path, key.str());
    if (const toml::table* inner = node.as_table(); inner && asked.has_table(full)) {
      reject_unknown(*inner, full);
    }
    const toml::array* array = node.as_array();
    for (std::size_t i = 0; array && i < array->size(); ++i) {
      const std::string place = fmt::format("{}[{}]", full, i);
      if (const toml::table* inner = array->get(i)->as_table(); inner && asked.has_table(place)) {
        reject_unknown(*inner, place);
      }
    }
  }
}

Document::Document(std::unique_ptr<State> state) : state_(std::move(state)) {}

Document::Document(const std::filesystem::path& file, std::span<const std::string> overrides)
    : state_(State::make(read_file(file), file.string(), overrides)) {}

std::unique_ptr<Document> Document::from_text(std::string_view text, std::string_view name,
                                              std::span<const std::string> overrides) {
  return std::unique_ptr<Document>(new Document(State::make(text, name, overrides)));
}

Document::~Document() = default;

Section Document::root() { return Section(*this, {}); }

void Document::reject_unknown() { state_->reject_unknown(state_->root, {}); }

std::vector<std::string> Document::faults() const { return state_->faults.lines(); }

void Document::throw_if_faulty() const {
  const std::vector<std::string> lines = faults();
  if (lines.empty()) return;
  throw Faults(Fault::config, fmt::format("{}", fmt::join(lines, "\n")),
               std::source_location::current());
}

std::string Document::resolved(std::span<const std::string_view> without) const {
  return state_->asked.write(without);
}

std::vector<std::string> Document::asked_keys() const { return state_->asked.all(); }

}  // namespace sheaf::config
