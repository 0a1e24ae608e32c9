// What compressors say no with. All throw.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "common/compression/compressor.h"

namespace sheaf::compression {

// Fault::diverged: there is something to encode that is no finite number.
[[noreturn]] void fail_not_finite(const EncodingKey& key);

// Fault::network, unless so many bytes stand for so many values.
void expect_bytes(std::string_view compressor, std::size_t found, std::size_t expected,
                  std::size_t elements);

// Fault::network, unless all are from 1 to `most`.
void expect_exponents(std::string_view compressor, std::span<const std::byte> exponents,
                      unsigned most);

// Fault::network, unless all are floats that are finite and not negative.
void expect_magnitudes(std::string_view compressor, std::span<const std::byte> floats);

}  // namespace sheaf::compression
