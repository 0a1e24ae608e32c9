#include "common/config/section.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>
#include <system_error>
#include <type_traits>

#include "common/config/document_state.h"
#include "common/config/duration.h"
#include "common/config/suggest.h"
#include "common/config/toml_text.h"
#include "common/config/words.h"

namespace sheaf::config {
namespace {

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
  if (!value || !std::isfinite(static_cast<double>(*value))) return {};
  if (within(*value, bounds)) return fmt::format("{}", *value);  // 2.0 for an integer
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

}  // namespace

const toml::node* Document::State::take(const Section& section, std::string_view key, bool required,
                                        const std::string& expected) {
  asked.known(section.path(), key);
  const std::string path = join_path(section.path(), key);
  const toml::node* node = find(path);
  if (node == nullptr && required) {
    // If the table itself is something else, that has been said and is enough.
    std::string_view around = section.path();
    while (find(around) == nullptr) around = parent_path(around);
    if (find(around)->is_table()) {
      faults.add(place(path), path, "found nothing, expected " + expected,
                 FaultList::Kind::missing);
    }
  }
  return node;
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

std::string Section::toml() const {
  const toml::node* node = document_->state_->find(path_);
  if (node == nullptr || !node->is_table()) return "{}";
  toml::table table = *node->as_table();
  table.is_inline(true);
  std::ostringstream text;  // in a list, since a table alone is written as a document
  text << toml::toml_formatter{toml::array{std::move(table)}, toml::format_flags::none};
  std::string list = text.str();
  std::ranges::replace(list, '\n', ' ');  // between places of the list; texts have none
  return list.substr(list.find('{'), list.rfind('}') + 1 - list.find('{'));
}

void Section::fault(std::string_view key, std::string found, std::string expected,
                    std::string attempt) const {
  document_->state_->reject(join_path(path_, key), found, expected, attempt);
}

bool Section::sound(std::string_view key) const {
  return !document_->state_->faults.concerns(join_path(path_, key));
}

}  // namespace sheaf::config
