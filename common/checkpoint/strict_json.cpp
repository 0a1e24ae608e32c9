#include "common/checkpoint/strict_json.h"

#include <fmt/format.h>

#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "common/checkpoint/checksum_text.h"
#include "common/checkpoint/refuse.h"

namespace sheaf::checkpoint {
namespace {

using Json = nlohmann::json;

}  // namespace

Json parse_strict_json(std::string_view text, std::string_view where, int max_depth) {
  std::vector<std::set<std::string>> names;  // of the objects that are open
  const auto note = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > max_depth) refuse("{} is nested deeper than the format allows", where);
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key &&
        !names.back().insert(value.get<std::string>()).second) {
      refuse("{} has {} twice", where, value.dump());
    }
    return true;
  };
  try {
    return Json::parse(text, note);
  } catch (const Json::exception& e) {
    refuse("{} is no JSON: {}", where, e.what());
  }
}

Fields::Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object_.is_object()) refuse("{} is no object", where_);
}

const Json& Fields::take(const char* key) {
  const auto found = object_.find(key);
  if (found == object_.end()) refuse("{}: \"{}\" is missing", where_, key);
  taken_.insert(key);
  return *found;
}

const Json& Fields::list(const char* key) {
  const Json& value = take(key);
  if (!value.is_array()) refuse("{}: \"{}\" is no list", where_, key);
  return value;
}

const Json& Fields::object(const char* key) {
  const Json& value = take(key);
  if (!value.is_object()) refuse("{}: \"{}\" is no object", where_, key);
  return value;
}

std::string Fields::text(const char* key) {
  const Json& value = take(key);
  if (!value.is_string()) refuse("{}: \"{}\" is no text", where_, key);
  return value.get<std::string>();
}

std::uint64_t Fields::number(const char* key, std::uint64_t most) {
  const Json& value = take(key);
  if (!value.is_number_unsigned()) {
    refuse("{}: \"{}\" is no whole number from 0 on", where_, key);
  }
  const auto number = value.get<std::uint64_t>();
  if (number > most) refuse("{}: \"{}\" is {}, at most {} is possible", where_, key, number, most);
  return number;
}

double Fields::wide_real(const char* key) {
  const Json& value = take(key);
  if (!value.is_number()) refuse("{}: \"{}\" is no number", where_, key);
  return value.get<double>();
}

bool Fields::flag(const char* key) {
  if (!object_.contains(key)) return false;
  if (take(key) != Json(true)) refuse("{}: \"{}\" is not true", where_, key);
  return true;
}

float Fields::real(const char* key) {
  const double wide = wide_real(key);
  const bool fits = std::abs(wide) <= std::numeric_limits<float>::max();
  if (!fits || static_cast<double>(static_cast<float>(wide)) != wide) {
    refuse("{}: \"{}\" is no float: {}", where_, key, wide);
  }
  return static_cast<float>(wide);
}

std::uint32_t Fields::checksum(const char* key) {
  const std::string digits = text(key);
  const auto crc = parse_checksum(digits);
  if (!crc) refuse("{}: \"{}\" is no checksum of 8 hexadecimal digits", where_, key);
  return *crc;
}

void Fields::done() const {
  if (taken_.size() == object_.size()) return;
  for (const auto& [key, value] : object_.items()) {
    if (!taken_.contains(key)) refuse("{}: {} is not known", where_, Json(key).dump());
  }
}

}  // namespace sheaf::checkpoint
