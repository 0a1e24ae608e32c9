// CRC-32C bit by bit from its definition (polynomial 1EDC6F41, reflected): a second implementation
// to judge frames by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sheaf::wire {

inline std::uint32_t plain_crc32c(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const std::byte byte : bytes) {
    crc ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
  }
  return ~crc;
}

}  // namespace sheaf::wire
