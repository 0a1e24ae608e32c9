#include "common/config/words.h"

#include <fmt/format.h>

#include <chrono>
#include <limits>

#include "common/config/duration.h"
#include "common/config/toml_text.h"

namespace sheaf::config {
namespace {

// "", " from 1 to 9", " of at least 1", " above 0 and below 1", … ; an empty bound is none.
std::string range(const std::string& low, const std::string& high) {
  const bool plain_low = !low.starts_with("above"), plain_high = !high.starts_with("below");
  if (low.empty() && high.empty()) return {};
  if (!low.empty() && !high.empty() && plain_low && plain_high) {
    return fmt::format(" from {} to {}", low, high);
  }
  const std::string from = plain_low && !low.empty() ? "of at least " + low : low;
  const std::string to = plain_high && !high.empty() ? "of at most " + high : high;
  return fmt::format(" {}{}{}", from, from.empty() || to.empty() ? "" : " and ", to);
}

}  // namespace

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

std::string expected_integer(const Bounds<std::int64_t>& bounds) {
  const Bounds<std::int64_t> any;
  return "an integer" + range(bounds.low == any.low ? "" : fmt::format("{}", bounds.low),
                              bounds.high == any.high ? "" : fmt::format("{}", bounds.high));
}

std::string expected_real(const Bounds<double>& bounds) {
  const Bounds<double> any;
  std::string low = bounds.low == any.low ? "" : fmt::format("{}", bounds.low);
  std::string high = bounds.high == any.high ? "" : fmt::format("{}", bounds.high);
  if (bounds.low == kAboveZero) low = "above 0";
  if (bounds.high == kBelowOne) high = "below 1";
  return "a number" + range(low, high);
}

std::string expected_duration(const Bounds<std::int64_t>& milliseconds) {
  const auto text = [](std::int64_t value) { return to_text(std::chrono::milliseconds(value)); };
  const std::int64_t any = std::numeric_limits<std::int64_t>::max();
  return R"(a duration such as "250ms", "30s", "5m" or "2h")" +
         range(milliseconds.low <= 0 ? "" : text(milliseconds.low),
               milliseconds.high == any ? "" : text(milliseconds.high));
}

}  // namespace sheaf::config
