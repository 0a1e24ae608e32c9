#include "common/compression/packed_values.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "common/base/error.h"
#include "common/compression/block_codes.h"
#include "common/compression/refusals.h"
#include "common/compression/selection.h"
#include "common/config/section.h"
#include "common/math/block_code.h"

namespace sheaf::compression {
namespace {

constexpr std::uint32_t kInfinite = 0x7F800000;  // as a magnitude
constexpr unsigned kMostOfTwoBits = 253;         // exponent of a scale that may be doubled

// Fields of 2, 4, 8 or 16 bits, the first one lowest.
void put_field(std::span<std::byte> fields, unsigned bits, std::size_t i, std::uint32_t field) {
  const std::size_t bit = i * bits;
  if (bits == 16) {
    const auto half = static_cast<std::uint16_t>(field);
    std::memcpy(&fields[bit / 8], &half, sizeof half);
  } else {
    fields[bit / 8] |= static_cast<std::byte>(field << (bit % 8));
  }
}

std::uint32_t field_at(std::span<const std::byte> fields, unsigned bits, std::size_t i) {
  const std::size_t bit = i * bits;
  if (bits == 16) {
    std::uint16_t half;
    std::memcpy(&half, &fields[bit / 8], sizeof half);
    return half;
  }
  return std::to_integer<std::uint32_t>(fields[bit / 8]) >> (bit % 8) & ((1U << bits) - 1);
}

// Bit 0: negative; bit 1: 2 s.
std::uint32_t two_bits_of(float x, float scale) {
  return (std::signbit(x) ? 1U : 0U) | (std::abs(x) < 1.5F * scale ? 0U : 2U);
}

}  // namespace

double PackedValues::contraction() const {
  if (bits_ == 32) return 1;
  return bits_ == 2 ? 0 : contraction_of_codes(bits_, kBlock);
}

bool PackedValues::encode(std::span<const float> block, std::size_t at, std::size_t count,
                          std::span<std::byte> to) const {
  std::uint32_t largest = 0, smallest = kInfinite;
  for (const float value : block) {
    largest = std::max(largest, magnitude_bits(value));
    smallest = std::min(smallest, magnitude_bits(value));
  }
  if (largest >= kInfinite) return false;
  if (bits_ == 32) {
    std::memcpy(&to[at * sizeof(float)], block.data(), block.size_bytes());
    return true;
  }
  const std::uint32_t exponent = bits_ == 2
                                     ? std::clamp(smallest >> 23, 1U, kMostOfTwoBits)
                                     : math::exponent_of(largest, bits_, math::Rounding::nearest);
  to[at / kBlock] = static_cast<std::byte>(exponent);
  const auto fields = to.subspan(scale_bytes(count)).subspan(at * bits_ / 8);
  std::ranges::fill(fields.first((block.size() * bits_ + 7) / 8), std::byte{0});
  const float scale = math::scale_of(exponent), inverse = math::inverse_of(exponent);
  const std::uint32_t mask = (1U << bits_) - 1;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const auto code = [&] {
      return math::nearest_code(block[i], inverse, math::largest_code(bits_));
    };
    put_field(
        fields, bits_, i,
        bits_ == 2 ? two_bits_of(block[i], scale) : static_cast<std::uint32_t>(code()) & mask);
  }
  return true;
}

void PackedValues::expect_sound(std::string_view compressor, std::span<const std::byte> from,
                                std::size_t count) const {
  if (bits_ != 32) {
    const auto scales = from.first(scale_bytes(count));
    expect_exponents(compressor, scales, bits_ == 2 ? kMostOfTwoBits : math::most_exponent(bits_));
    const std::size_t used = count * bits_ % 8;
    if (used == 0 || std::to_integer<unsigned>(from.back()) >> used == 0) return;
    fail(Fault::network, "compressor {}: found bits behind the last of {} values", compressor,
         count);
  }
  for (std::size_t i = 0; i < count; ++i) {
    float value;
    std::memcpy(&value, &from[i * sizeof value], sizeof value);
    if (std::isfinite(value)) continue;
    fail(Fault::network, "compressor {}: found a value that is not finite", compressor);
  }
}

void PackedValues::decode(std::span<const std::byte> from, std::size_t at, std::size_t count,
                          Block& block) const {
  const std::size_t size = std::min(kBlock, count - at);
  if (bits_ == 32) {
    std::memcpy(block.data(), &from[at * sizeof(float)], size * sizeof(float));
    return;
  }
  const float scale = math::scale_of(std::to_integer<std::uint32_t>(from[at / kBlock]));
  const auto fields = from.subspan(scale_bytes(count)).subspan(at * bits_ / 8);
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint32_t field = field_at(fields, bits_, i);
    if (bits_ == 2) {
      const float magnitude = (field & 2U) != 0 ? 2 * scale : scale;
      block[i] = (field & 1U) != 0 ? -magnitude : magnitude;
    } else {  // two's complement
      const auto code = static_cast<std::int32_t>(field << (32 - bits_)) >> (32 - bits_);
      block[i] = static_cast<float>(code) * scale;
    }
  }
}

PackedValues read_values(const config::Section& section, bool two_bits) {
  const std::int64_t bits = section.integer("values", 32);
  const bool known = bits == 32 || bits == 16 || bits == 8 || bits == 4 || (two_bits && bits == 2);
  if (known) return PackedValues(static_cast<unsigned>(bits));
  if (section.sound("values")) {
    section.fault("values", fmt::format("{}", bits),
                  two_bits ? "32, 16, 8, 4 or 2 bits a value" : "32, 16, 8 or 4 bits a value", "8");
  }
  return PackedValues(32);
}

double read_ratio(const config::Section& section) {
  return section.real("ratio", 0.01, {config::kAboveZero, 1.0});
}

std::size_t share_of(double ratio, std::size_t elements) {
  if (elements == 0) return 0;
  const auto count = static_cast<std::size_t>(std::llround(ratio * static_cast<double>(elements)));
  return std::clamp<std::size_t>(count, 1, elements);
}

}  // namespace sheaf::compression
