// A CRC-32C as a person reads it: 8 hexadecimal digits in lower case. Pure functions.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sheaf::checkpoint {

inline std::string checksum_text(std::uint32_t crc) { return fmt::format("{:08x}", crc); }

// Nothing for any other form.
inline std::optional<std::uint32_t> parse_checksum(std::string_view digits) {
  std::uint32_t crc = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), crc, 16);
  if (error != std::errc{} || checksum_text(crc) != digits) return std::nullopt;
  return crc;
}

}  // namespace sheaf::checkpoint
