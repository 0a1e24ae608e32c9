// Little-endian integers in byte spans, for the fixed formats of this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace sheaf::wire {

// Writes `value` at `at`. REQUIRES: it fits.
template <typename T>
void put(std::span<std::byte> bytes, std::size_t at, T value) {
  static_assert(std::is_unsigned_v<T>);
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[at + i] = static_cast<std::byte>((value >> (8 * i)) & 0xFF);
  }
}

// Reads a value at `at`. REQUIRES: it fits.
template <typename T>
T get(std::span<const std::byte> bytes, std::size_t at) {
  static_assert(std::is_unsigned_v<T>);
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | (static_cast<T>(bytes[at + i]) << (8 * i)));
  }
  return value;
}

}  // namespace sheaf::wire
