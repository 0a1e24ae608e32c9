#include "common/config/toml_text.h"

#include <fmt/format.h>

#include "common/config/duration.h"

namespace sheaf::config {

std::string toml_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04X}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string toml_text(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";  // n as in inf and nan
  return text;
}

std::string toml_text(std::int64_t value) { return fmt::format("{}", value); }

std::string toml_text(bool value) { return value ? "true" : "false"; }

std::string toml_text(std::chrono::milliseconds value) { return toml_text(to_text(value)); }

}  // namespace sheaf::config
