#include "common/base/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "common/base/error.h"

namespace sheaf {
namespace {

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection with full avalanche.
std::uint64_t avalanche(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {high(p1) ^ counter[1] ^ key[0], low(p1), high(p0) ^ counter[3] ^ key[1], low(p0)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

Stream::Stream(std::uint64_t seed, Purpose purpose, std::uint64_t a, std::uint32_t b,
               std::uint64_t c) {
  const std::uint64_t key =
      avalanche(avalanche(avalanche(seed) ^ static_cast<std::uint32_t>(purpose)) ^ c);
  key_ = {low(key), high(key)};
  name_ = {low(a), high(a), b};
}

std::array<std::uint32_t, 4> Stream::block(std::uint32_t index) const {
  return philox({index, name_[0], name_[1], name_[2]}, key_);
}

std::uint32_t Stream::next() {
  if (used_ == 4) {
    words_ = block(index_++);
    used_ = 0;
  }
  return words_[used_++];
}

float Stream::uniform() { return static_cast<float>(next() >> 8) * 0x1.0p-24F; }

double Stream::uniform_double() {
  const std::uint64_t high_bits = next();
  return static_cast<double>((high_bits << 21) ^ (next() >> 11)) * 0x1.0p-53;
}

double Stream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform_double()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform_double());
}

Permutation::Permutation(std::uint64_t size, std::uint64_t seed, Purpose purpose, std::uint64_t a,
                         std::uint32_t b, std::uint64_t c)
    : size_(size) {
  check(size > 0 && size <= (std::uint64_t{1} << 60), "permutation of 1 to 2^60 elements");
  const auto bits = static_cast<std::uint32_t>(std::bit_width(size - 1));
  half_bits_ = std::max(1U, (bits + 1) / 2);
  half_mask_ = static_cast<std::uint32_t>((std::uint64_t{1} << half_bits_) - 1);
  Stream stream(seed, purpose, a, b, c);
  for (auto& key : keys_) key = (std::uint64_t{stream.next()} << 32) | stream.next();
}

std::uint32_t Permutation::mix(int round, std::uint32_t half) const {
  return low(avalanche(keys_[static_cast<std::size_t>(round)] ^ half)) & half_mask_;
}

std::uint64_t Permutation::operator()(std::uint64_t index) const {
  do {
    auto left = static_cast<std::uint32_t>(index >> half_bits_);
    auto right = low(index) & half_mask_;
    for (int round = 0; round < kRounds; ++round) {
      const std::uint32_t next = left ^ mix(round, right);
      left = right;
      right = next;
    }
    index = (std::uint64_t{left} << half_bits_) | right;
  } while (index >= size_);
  return index;
}

std::uint64_t Permutation::inverse(std::uint64_t index) const {
  do {
    auto left = static_cast<std::uint32_t>(index >> half_bits_);
    auto right = low(index) & half_mask_;
    for (int round = kRounds - 1; round >= 0; --round) {
      const std::uint32_t previous = right ^ mix(round, left);
      right = left;
      left = previous;
    }
    index = (std::uint64_t{left} << half_bits_) | right;
  } while (index >= size_);
  return index;
}

}  // namespace sheaf
