#include "common/config/section.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <system_error>

#include "common/base/error.h"
#include "common/config/asked_keys.h"
#include "common/config/duration.h"
#include "common/config/expectation.h"
#include "common/config/fault_list.h"
#include "common/config/path.h"
#include "common/config/suggest.h"
#include "common/config/toml_text.h"

namespace sheaf::config {
namespace {

Place place_of(const toml::node& node) {
  const toml::source_position& begin = node.source().begin;
  return begin ? Place{false, begin.line, begin.column} : Place{};
}

// A value for a message; strings stay short and on one line. Empty for lists and tables.
std::string value_words(const toml::node& node) {
  if (const auto text = node.value_exact<std::string>()) {
    constexpr std::size_t kLongest = 60;
    if (text->size() <= kLongest) return toml_text(*text);
    std::size_t cut = kLongest;
    while (cut > 0 && (static_cast<unsigned char>((*text)[cut]) & 0xc0) == 0x80) --cut;  // UTF-8
    return toml_text(text->substr(0, cut) + "…");
  }
  if (const auto integer = node.value_exact<std::int64_t>()) return toml_text(*integer);
  if (const auto real = node.value_exact<double>()) return toml_text(*real);
  if (const auto boolean = node.value_exact<bool>()) return toml_text(*boolean);
  return {};
}

// `"two" (a string)`
std::string found_words(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string: return value_words(node) + " (a string)";
    case toml::node_type::integer: return value_words(node) + " (an integer)";
    case toml::node_type::floating_point: return value_words(node) + " (a real number)";
    case toml::node_type::boolean: return value_words(node) + " (a boolean)";
    case toml::node_type::array: return "a list";
    case toml::node_type::table: return "a table";
    default: return "a date or time";
  }
}

template <typename T>
bool within(T value, const Bounds<T>& bounds) {
  return value >= bounds.low && value <= bounds.high;
}

// A whole text as a number; nothing if anything else follows.
template <typename T>
std::optional<T> number_in(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

std::optional<double> finite_in(const toml::node& node) {
  if (const auto integer = node.value_exact<std::int64_t>()) return static_cast<double>(*integer);
  if (const auto real = node.value_exact<double>(); real && std::isfinite(*real)) return real;
  return std::nullopt;
}

// What a number of the wrong kind or size probably should have been; empty if that is a guess.
template <typename T>
std::string number_attempt(const toml::node& node, const Bounds<T>& bounds) {
  if (const auto text = node.value_exact<std::string>()) {
    const auto value = number_in<T>(*text);
    return value && within(*value, bounds) ? *text : std::string{};
  }
  const auto value = node.value<T>();
  if (!value || within(*value, bounds)) return {};
  const T nearest = *value < bounds.low ? bounds.low : bounds.high;
  const bool open = std::is_floating_point_v<T> &&
                    (nearest == static_cast<T>(kAboveZero) || nearest == static_cast<T>(kBelowOne));
  return open ? std::string{} : fmt::format("{}", nearest);
}

// A number lacks its unit; what is out of bounds may have meant the bound.
std::string duration_attempt(const toml::node& node, const Bounds<std::int64_t>& milliseconds) {
  const auto text = node.value_exact<std::string>();
  if (const auto value = text ? parse_duration(*text) : std::nullopt) {
    const std::int64_t bound =
        value->count() < milliseconds.low ? milliseconds.low : milliseconds.high;
    return toml_text(std::chrono::milliseconds(bound));
  }
  const auto count = text ? number_in<std::int64_t>(*text) : node.value_exact<std::int64_t>();
  return count && *count >= 0 ? toml_text(fmt::format("{}s", *count)) : std::string{};
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

}  // namespace

struct Document::State {
  explicit State(std::string_view file) : faults(std::string(file)) {}
  static std::unique_ptr<State> make(std::string_view text, std::string_view file,
                                     std::span<const std::string> override_texts);

  void parse(std::string_view text);
  void apply(std::string_view text, std::uint32_t number);
  // One step of an override: the node there, a missing table being made; null after a fault.
  toml::node* open(toml::node& node, const PathStep& step, std::string& path, const Place& place);

  // The node at a path, or null.
  const toml::node* find(std::string_view path) const;
  // Where a path stands; of what is missing, the table that lacks it.
  Place place(std::string_view path) const;
  // The node at path.key; null if it is missing, which is a fault when it is required.
  const toml::node* take(const Section& section, std::string_view key, bool required,
                         const std::string& expected);
  // One value: `accept` gives it or nothing, then `attempt` says what was probably meant.
  template <typename Value, typename Default, typename Accept, typename Attempt>
  Value read(const Section& section, std::string_view key, const Default& otherwise, Value stand_in,
             toml::node_type type, const std::string& expected, Accept accept, Attempt attempt);
  template <typename Value, typename Accept>
  std::vector<Value> read_list(const Section& section, std::string_view key,
                               std::optional<std::vector<Value>> otherwise, std::string_view plural,
                               std::string_view singular, Accept accept);
  void reject(std::string_view path, std::string_view found, std::string_view expected,
              std::string_view attempt = {});
  void reject_unknown(const toml::table& table, const std::string& path);
  void reject_unknown_key(const toml::node& node, const std::string& path, std::string_view key,
                          bool kind_is_sound);

  struct Override {
    std::string path;
    Place place;
  };
  toml::table root;
  bool readable = true;  // the file is TOML
  std::vector<Override> overrides;
  FaultList faults;
  AskedKeys asked;
};

void Document::State::parse(std::string_view text) {
  try {
    root = toml::parse(text);
  } catch (const toml::parse_error& error) {
    const toml::source_position& begin = error.source().begin;
    faults.add({false, begin.line, begin.column}, {}, std::string(error.description()));
    readable = false;
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

const toml::node* Document::State::take(const Section& section, std::string_view key, bool required,
                                        const std::string& expected) {
  asked.known(section.path(), key);
  const std::string path = join_path(section.path(), key);
  const toml::node* node = find(path);
  if (node == nullptr && required) {
    // If the table itself is something else, that has been said and is enough.
    const toml::node* table = find(section.path());
    if (table == nullptr || table->is_table()) {
      faults.add(place(path), path, "found nothing, expected " + expected,
                 FaultList::Kind::missing);
    }
  }
  return node;
}

void Document::State::reject(std::string_view path, std::string_view found,
                             std::string_view expected, std::string_view attempt) {
  std::string text = fmt::format("found {}, expected {}", found, expected);
  if (!attempt.empty()) text += fmt::format(", try {}", attempt);
  faults.add(place(path), std::string(path), std::move(text));
}

template <typename Value, typename Default, typename Accept, typename Attempt>
Value Document::State::read(const Section& section, std::string_view key, const Default& otherwise,
                            Value stand_in, toml::node_type type, const std::string& expected,
                            Accept accept, Attempt attempt) {
  Value value = otherwise ? Value(*otherwise) : std::move(stand_in);
  if (const toml::node* node = take(section, key, !otherwise, expected)) {
    if (std::optional<Value> found = accept(*node)) {
      value = *std::move(found);
    } else {
      // Of the right type the value says it all; 1 is a real number too.
      const bool typed =
          node->type() == type || (type == toml::node_type::floating_point && node->is_integer());
      reject(join_path(section.path(), key), typed ? value_words(*node) : found_words(*node),
             expected, attempt(*node));
    }
  }
  asked.value(section.path(), key, toml_text(value));
  return value;
}

template <typename Value, typename Accept>
std::vector<Value> Document::State::read_list(const Section& section, std::string_view key,
                                              std::optional<std::vector<Value>> otherwise,
                                              std::string_view plural, std::string_view singular,
                                              Accept accept) {
  const std::string path = join_path(section.path(), key);
  const std::string expected = fmt::format("a list of {}", plural);
  std::vector<Value> values = otherwise.value_or(std::vector<Value>{});
  const toml::node* node = take(section, key, !otherwise, expected);
  const toml::array* array = node ? node->as_array() : nullptr;
  if (array != nullptr) {
    values.clear();
    for (std::size_t i = 0; i < array->size(); ++i) {
      const toml::node& element = *array->get(i);
      if (std::optional<Value> value = accept(element)) {
        values.push_back(*std::move(value));
      } else {
        reject(fmt::format("{}[{}]", path, i), found_words(element), singular);
      }
    }
  } else if (node != nullptr) {
    const std::string plain = value_words(*node);
    reject(path, found_words(*node), expected,
           accept(*node) ? fmt::format("[{}]", plain) : std::string{});
  }
  asked.value(section.path(), key, toml_list(values));
  return values;
}

// --- overrides -----------------------------------------------------------------------------------

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
               fmt::format("found {} elements at {}, expected more than {}", array.size(), around,
                           step.index));
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

// --- what nobody asked for -----------------------------------------------------------------------

namespace {

// "data" -> "[data]", "model.layers[]" -> "[[model.layers]]"
std::string header_of(std::string_view path) {
  if (!path.ends_with("[]")) return fmt::format("[{}]", path);
  return fmt::format("[[{}]]", path.substr(0, path.size() - 2));
}

}  // namespace

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
    attempt = fmt::format("moving it: it belongs under {}", header_of(elsewhere.front()));
    faults.forgive_missing(join_path(elsewhere.front(), key));
  } else if (near) {
    attempt = *near;
    faults.forgive_missing(join_path(path, *near));
  }
  reject(join_path(path, key), node.is_table() ? "an unknown table" : "an unknown key", expected,
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

// --- Section -------------------------------------------------------------------------------------

bool Section::has(std::string_view key) const {
  Document::State& state = *document_->state_;
  state.asked.known(path_, key);
  return state.find(join_path(path_, key)) != nullptr;
}

std::int64_t Section::integer(std::string_view key, std::optional<std::int64_t> otherwise,
                              Bounds<std::int64_t> bounds) const {
  return document_->state_->read<std::int64_t>(
      *this, key, otherwise, std::max<std::int64_t>(bounds.low, 0), toml::node_type::integer,
      expected_integer(bounds),
      [&](const toml::node& node) {
        const auto value = node.value_exact<std::int64_t>();
        return value && within(*value, bounds) ? value : std::nullopt;
      },
      [&](const toml::node& node) { return number_attempt(node, bounds); });
}

double Section::real(std::string_view key, std::optional<double> otherwise,
                     Bounds<double> bounds) const {
  return document_->state_->read<double>(
      *this, key, otherwise, std::max(bounds.low, 0.0), toml::node_type::floating_point,
      expected_real(bounds),
      [&](const toml::node& node) {
        const auto value = finite_in(node);
        return value && within(*value, bounds) ? value : std::nullopt;
      },
      [&](const toml::node& node) { return number_attempt(node, bounds); });
}

bool Section::boolean(std::string_view key, std::optional<bool> otherwise) const {
  return document_->state_->read<bool>(
      *this, key, otherwise, false, toml::node_type::boolean, "true or false",
      [](const toml::node& node) { return node.value_exact<bool>(); },
      [](const toml::node& node) {
        const auto text = node.value_exact<std::string>();
        return text == "true" || text == "false" ? *text : std::string{};
      });
}

std::string Section::text(std::string_view key, std::optional<std::string_view> otherwise) const {
  return document_->state_->read<std::string>(
      *this, key, otherwise, {}, toml::node_type::string, "a string",
      [](const toml::node& node) { return node.value_exact<std::string>(); },
      [](const toml::node& node) {
        const std::string plain = value_words(node);
        return plain.empty() ? plain : toml_text(plain);
      });
}

std::string Section::word(std::string_view key, std::span<const std::string_view> words,
                          std::optional<std::string_view> otherwise) const {
  const std::string value = mode(key, words, otherwise);
  if (!value.empty() || words.empty()) return value;
  return std::string(otherwise.value_or(words.front()));
}

std::string Section::mode(std::string_view key, std::span<const std::string_view> words,
                          std::optional<std::string_view> otherwise) const {
  const std::vector<std::string> known(words.begin(), words.end());
  std::optional<std::string> near;
  bool wrong = false;
  const std::string value = document_->state_->read<std::string>(
      *this, key, otherwise, {}, toml::node_type::string, "one of " + join_words(known, true),
      [&](const toml::node& node) {
        const auto found = node.value_exact<std::string>();
        const bool is_known = found && std::find(known.begin(), known.end(), *found) != known.end();
        return is_known ? found : std::nullopt;
      },
      [&](const toml::node& node) {
        wrong = true;
        const auto found = node.value_exact<std::string>();
        if (found) near = nearest(*found, known);
        return near ? toml_text(*near) : std::string{};
      });
  return wrong ? near.value_or("") : value;
}

std::chrono::milliseconds Section::duration(std::string_view key,
                                            std::optional<std::chrono::milliseconds> otherwise,
                                            Bounds<std::int64_t> milliseconds) const {
  using Milliseconds = std::chrono::milliseconds;
  return document_->state_->read<Milliseconds>(
      *this, key, otherwise, Milliseconds(std::max<std::int64_t>(milliseconds.low, 0)),
      toml::node_type::string, expected_duration(milliseconds),
      [&](const toml::node& node) {
        const auto text = node.value_exact<std::string>();
        const auto value = text ? parse_duration(*text) : std::nullopt;
        return value && within(value->count(), milliseconds) ? value : std::nullopt;
      },
      [&](const toml::node& node) { return duration_attempt(node, milliseconds); });
}

std::vector<double> Section::reals(std::string_view key,
                                   std::optional<std::vector<double>> otherwise) const {
  return document_->state_->read_list<double>(*this, key, std::move(otherwise), "numbers",
                                              "a number", &finite_in);
}

std::vector<std::string> Section::texts(std::string_view key,
                                        std::optional<std::vector<std::string>> otherwise) const {
  return document_->state_->read_list<std::string>(
      *this, key, std::move(otherwise), "strings", "a string",
      [](const toml::node& node) { return node.value_exact<std::string>(); });
}

Section Section::table(std::string_view key) const {
  Document::State& state = *document_->state_;
  const std::string path = join_path(path_, key);
  if (const toml::node* node = state.take(*this, key, false, "a table");
      node != nullptr && !node->is_table()) {
    // A mode by its bare word is the likely meaning of a string.
    const bool word = node->is_string();
    state.reject(path, found_words(*node), "a table",
                 word ? fmt::format("{{ kind = {} }}", value_words(*node)) : std::string{});
  }
  state.asked.table(path_, key);
  return Section(*document_, path);
}

std::vector<Section> Section::tables(std::string_view key, bool required) const {
  Document::State& state = *document_->state_;
  const std::string path = join_path(path_, key);
  const std::string expected = "a list of tables";
  std::vector<Section> sections;
  const toml::node* node = state.take(*this, key, required, expected);
  const toml::array* array = node ? node->as_array() : nullptr;
  if (node != nullptr && array == nullptr) state.reject(path, found_words(*node), expected);
  if (array != nullptr && array->empty() && required) {
    state.reject(path, "an empty list", expected);
  }
  for (std::size_t i = 0; array && i < array->size(); ++i) {
    const std::string place = fmt::format("{}[{}]", path, i);
    if (array->get(i)->is_table()) {
      sections.push_back(Section(*document_, place));
    } else {
      state.reject(place, found_words(*array->get(i)), "a table");
    }
  }
  state.asked.tables(path_, key, array ? array->size() : 0);
  return sections;
}

void Section::fault(std::string_view key, std::string found, std::string expected,
                    std::string attempt) const {
  document_->state_->reject(join_path(path_, key), found, expected, attempt);
}

bool Section::sound(std::string_view key) const {
  return !document_->state_->faults.concerns(join_path(path_, key));
}

// --- Document ------------------------------------------------------------------------------------

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
  if (!lines.empty()) fail(Fault::config, "{}", fmt::join(lines, "\n"));
}

std::string Document::resolved(std::span<const std::string_view> without) const {
  return state_->asked.write(without);
}

std::vector<std::string> Document::asked_keys() const { return state_->asked.all(); }

}  // namespace sheaf::config
