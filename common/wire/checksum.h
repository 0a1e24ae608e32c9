// CRC-32C (Castagnoli), by libisal, which picks the fastest code for the processor at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sheaf::wire {

// Of `bytes`, or of all bytes so far and these, if `before` is the checksum of those.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0);

}  // namespace sheaf::wire
