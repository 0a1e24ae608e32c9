#include "common/compression/refusals.h"

#include <cmath>
#include <cstring>

#include "common/base/error.h"

namespace sheaf::compression {

void fail_not_finite(const EncodingKey& key) {
  if (key.partition == kEveryPartition) {
    fail(Fault::diverged, "version {}: the parameters of chunk {} are not finite; lower the rate",
         key.step, key.chunk);
  }
  fail(Fault::diverged,
       "step {}: what partition {} would push for chunk {} is not finite; lower the rate or warm "
       "up",
       key.step, key.partition, key.chunk);
}

void expect_bytes(std::string_view compressor, std::size_t found, std::size_t expected,
                  std::size_t elements) {
  if (found == expected) return;
  fail(Fault::network, "compressor {}: found {} bytes, expected {} for {} values", compressor,
       found, expected, elements);
}

void expect_exponents(std::string_view compressor, std::span<const std::byte> exponents,
                      unsigned most) {
  for (const std::byte exponent : exponents) {
    const auto value = std::to_integer<unsigned>(exponent);
    if (value >= 1 && value <= most) continue;
    fail(Fault::network, "compressor {}: found the exponent {} of a scale, expected 1 to {}",
         compressor, value, most);
  }
}

void expect_magnitudes(std::string_view compressor, std::span<const std::byte> floats) {
  for (std::size_t at = 0; at < floats.size(); at += sizeof(float)) {
    float value;
    std::memcpy(&value, &floats[at], sizeof value);
    if (std::isfinite(value) && !std::signbit(value)) continue;
    fail(Fault::network, "compressor {}: found the scale {}, expected a finite one from 0 on",
         compressor, value);
  }
}

}  // namespace sheaf::compression
