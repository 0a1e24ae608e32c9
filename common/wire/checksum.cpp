#include "common/wire/checksum.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace sheaf::wire {

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before) {
  // libisal wants a mutable pointer and an int; it writes nothing.
  auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes.data()));
  std::uint32_t crc = ~before;
  for (std::size_t left = bytes.size(); left > 0;) {
    const std::size_t part = std::min<std::size_t>(left, std::size_t{1} << 30);
    crc = crc32_iscsi(data, static_cast<int>(part), crc);
    data += part;
    left -= part;
  }
  return ~crc;
}

}  // namespace sheaf::wire
