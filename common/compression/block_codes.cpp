#include "common/compression/block_codes.h"

#include <algorithm>
#include <array>
#include <bit>

#include "common/base/random.h"
#include "common/compression/refusals.h"
#include "common/config/section.h"
#include "common/math/block_code.h"

namespace sheaf::compression {
namespace {

constexpr std::array<std::string_view, 2> kRoundings = {"nearest", "stochastic"};

}  // namespace

std::size_t read_block(const config::Section& section, std::size_t otherwise, std::size_t least,
                       std::size_t most) {
  const auto block = static_cast<std::size_t>(
      section.integer("block", static_cast<std::int64_t>(otherwise),
                      {static_cast<std::int64_t>(least), static_cast<std::int64_t>(most)}));
  if (!section.sound("block") || std::has_single_bit(block)) return block;
  section.fault("block", fmt::format("{}", block),
                fmt::format("a power of two from {} to {}", least, most),
                fmt::format("{}", std::bit_floor(block)));
  return otherwise;
}

// No value is wrong by more than s / 2, and the largest of a block is at least (m + 1/2) s / 2 with
// m the largest code, so that B values err by at most B / (m + 1/2)^2 of its square. And where that
// says nothing, the largest value itself has come near, and no other has got worse.
double contraction_of_codes(unsigned bits, std::size_t block) {
  const double largest = math::largest_code(bits) + 0.5;
  const auto values = static_cast<double>(block);
  const double share = 1 / (largest * largest);
  return std::max(1 - values * share, (1 - share) / values);
}

BlockCodes::BlockCodes(std::string_view name, unsigned bits, const config::Section& section)
    : name_(name),
      blocks_{bits, read_block(section, 64, 16, math::kMostBlock)},
      random_(section.word("rounding", kRoundings, kRoundings[0]) == kRoundings[1]) {}

Promises BlockCodes::promises(std::size_t) const {
  if (random_) return {.unbiased = true, .every_value = true};
  return {.contraction = contraction_of_codes(blocks_.bits, blocks_.block),
          .exact_residual = true,
          .every_value = true};
}

std::size_t BlockCodes::max_bytes(std::size_t elements) const {
  return scales(elements) + (elements * blocks_.bits + 7) / 8;
}

std::size_t BlockCodes::encode(std::span<const float> values, const EncodingKey& key,
                               std::span<std::byte> bytes) const {
  const auto exponents = bytes.first(scales(values.size()));
  const auto codes = bytes.subspan(exponents.size());
  const auto words =
      Stream(key.seed, Purpose::rounding, key.step, key.partition, key.chunk).block(0);
  const math::RoundingKey random{words[0], words[1]};
  if (!math::to_codes(blocks_, values, random_ ? &random : nullptr, exponents, codes)) {
    fail_not_finite(key);
  }
  return max_bytes(values.size());
}

void BlockCodes::decode_add(std::span<const std::byte> bytes, const EncodingKey&,
                            std::span<float> sum) const {
  expect_bytes(name_, bytes.size(), max_bytes(sum.size()), sum.size());
  const auto exponents = bytes.first(scales(sum.size()));
  expect_exponents(name_, exponents, math::most_exponent(blocks_.bits));
  math::add_codes(blocks_, exponents, bytes.subspan(exponents.size()), sum);
}

}  // namespace sheaf::compression
