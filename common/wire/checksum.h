// CRC-32C (Castagnoli), by libisal, which picks the fastest code for the processor at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sheaf::wire {

std::uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace sheaf::wire
