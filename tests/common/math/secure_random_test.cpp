// ChaCha20 against the vectors of its RFC; every instruction set against the scalar twin; deviates
// against libm in fp64.
#include "common/math/secure_random.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

#include "common/base/random.h"
#include "common/math/kernel_set.h"

namespace sheaf::math {
namespace {

std::vector<std::uint32_t> block_of(const ChachaKey& key, const ChachaNonce& nonce,
                                    std::uint32_t first, std::size_t block) {
  std::array<std::uint32_t, kChachaWords> words;
  chacha20(key, nonce, first, words);
  std::vector<std::uint32_t> found;
  for (std::size_t j = 0; j < 16; ++j) found.push_back(words[16 * j + block]);
  return found;
}

TEST(Chacha20, GivesTheBlockOfTheRfc) {
  // RFC 8439, section 2.3.2: key 00 01 … 1f, nonce 00 00 00 09 00 00 00 4a 00 00 00 00, block 1.
  ChachaKey key;
  for (std::uint32_t i = 0; i < 8; ++i) key[i] = 0x03020100U + 0x04040404U * i;
  const ChachaNonce nonce = {0x09000000, 0x4a000000, 0};
  const std::vector<std::uint32_t> expected = {0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3,
                                               0xc7f4d1c7, 0x0368c033, 0x9aaa2204, 0x4e6cd4c3,
                                               0x466482d2, 0x09aa9f07, 0x05d7c214, 0xa2028bd9,
                                               0xd19c12b5, 0xb94e16de, 0xe883d0cb, 0x4e3c50a2};
  EXPECT_EQ(block_of(key, nonce, 1, 0), expected);
  // The same block wherever it stands among those that are made at once.
  for (std::uint32_t back = 0; back < 16; ++back) {
    EXPECT_EQ(block_of(key, nonce, 1 - back, back), expected) << back;
  }
}

TEST(Chacha20, GivesTheBlocksOfTheRfcsAppendix) {
  // A.1, vectors 1, 2 and 4: the first words of each.
  EXPECT_EQ(block_of({}, {}, 0, 0)[1], 0x903df1a0U);
  EXPECT_EQ(block_of({}, {}, 0, 0)[0], 0xade0b876U);
  EXPECT_EQ(block_of({}, {}, 0, 1)[0], 0xbee7079fU);
  EXPECT_EQ(block_of({0xff00}, {}, 0, 2)[0], 0xfb4dd572U);
}

TEST(Chacha20, EveryInstructionSetGivesTheBitsOfTheScalarTwin) {
  Stream stream(3, Purpose::test);
  for (int round = 0; round < 50; ++round) {
    ChachaKey key;
    ChachaNonce nonce;
    for (auto& word : key) word = stream.next();
    for (auto& word : nonce) word = stream.next();
    const std::uint32_t first = round == 0 ? 0xFFFFFFF8U : stream.next();  // wraps around
    std::array<std::uint32_t, kChachaWords> expected, found;
    kScalarKernels.chacha20(key.data(), nonce.data(), first, expected.data());
    for (const KernelSet* set : supported_kernels()) {
      set->chacha20(key.data(), nonce.data(), first, found.data());
      EXPECT_EQ(found, expected) << set->name;
    }
  }
}

// Random words, and the edges of both uniforms.
std::vector<std::uint32_t> words_with_edges(std::size_t size) {
  constexpr std::uint32_t kEdges[] = {0,          1,          255,        256,        0x7FFFFFFF,
                                      0x80000000, 0xFFFFFFFF, 0x3FFFFFFF, 0x40000000, 0xBFFFFFFF};
  Stream stream(5, Purpose::test, size);
  std::vector<std::uint32_t> words(size);
  for (auto& word : words) {
    word = stream.next();
    if (stream.next() % 5 == 0) word = kEdges[stream.next() % std::size(kEdges)];
  }
  return words;
}

TEST(Normals, EveryInstructionSetGivesTheBitsOfTheScalarTwin) {
  for (const std::size_t size : {0U, 2U, 14U, 30U, 32U, 34U, 1024U, 100'000U}) {
    const std::vector<std::uint32_t> words = words_with_edges(size);
    std::vector<float> expected(size), found(size);
    const bool rare = kScalarKernels.normals(words.data(), expected.data(), size);
    for (const KernelSet* set : supported_kernels()) {
      EXPECT_EQ(set->normals(words.data(), found.data(), size), rare) << set->name;
      EXPECT_TRUE(std::ranges::equal(
          expected, found, {}, [](float x) { return std::bit_cast<std::uint32_t>(x); },
          [](float x) { return std::bit_cast<std::uint32_t>(x); }))
          << set->name << " " << size;
    }
  }
}

double ulps(float found, double expected) {
  const int exponent = std::max(std::ilogb(expected), -126);
  return std::abs(static_cast<double>(found) - expected) / std::ldexp(1.0, exponent - 23);
}

TEST(Normals, AreThoseOfBoxAndMullerToAFewUlp) {
  const std::vector<std::uint32_t> words = words_with_edges(200'000);
  std::vector<float> found(words.size());
  normals(words, found);
  const std::size_t half = words.size() / 2;
  double largest = 0, radius_error = 0;
  for (std::size_t i = 0; i < half; ++i) {
    const std::uint32_t a = words[i], b = words[half + i];
    const double cell = static_cast<double>((std::uint64_t{a} << 8) | (b & 0xFF));
    // 1 - u is exact where u is near 1.
    const double log_u =
        a >> 31 ? std::log1p((cell + 0.5 - 0x1p40) * 0x1p-40) : std::log((cell + 0.5) * 0x1p-40);
    const double radius = std::sqrt(-2 * log_u);
    const double v = (static_cast<double>(b >> 8) + 0.5) * 0x1p-24 - 0.125;
    const double cosine = radius * std::cos(2 * std::numbers::pi * v);
    const double sine = radius * std::sin(2 * std::numbers::pi * v);
    largest = std::max({largest, ulps(found[i], cosine), ulps(found[half + i], sine)});
    radius_error = std::max(
        radius_error, std::abs(std::hypot(double{found[i]}, double{found[half + i]}) / radius - 1));
  }
  EXPECT_LT(largest, 4);
  EXPECT_LT(radius_error, 0x1p-22);
}

TEST(Normals, SaysWhereDigitsRunOut) {
  std::vector<std::uint32_t> words(64, 0x12345678);
  std::vector<float> found(64);
  EXPECT_FALSE(normals(words, found));
  words[31] = 256;
  EXPECT_FALSE(normals(words, found));
  words[31] = 255;
  EXPECT_TRUE(normals(words, found));
}

TEST(NormalTail, GoesOnWhereTheOthersEnd) {
  // u = (more + 1/2) 2^-88, v = 2^-25: nearly all cosine.
  for (const std::uint64_t more : {std::uint64_t{0}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    const double u = (static_cast<double>(more) + 0.5) * 0x1p-88;
    const NormalPair pair = normal_tail(0x20000000, more);
    EXPECT_LT(ulps(pair.cosine, std::sqrt(-2 * std::log(u))), 3);
    EXPECT_NEAR(pair.sine, pair.cosine * std::numbers::pi * 0x1p-24, 1e-12);
  }
  EXPECT_GT(normal_tail(0x20000000, 0).cosine, 11.0F);
}

}  // namespace
}  // namespace sheaf::math
