#include "common/privacy/noise/noise_key.h"

#include <gmock/gmock.h>

#include <cstring>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::privacy {
namespace {

wire::Digest counting_secret() {
  wire::Digest secret;
  for (std::size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<std::byte>(i);
  return secret;
}

std::vector<std::byte> bytes_for(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(7 * i);
  return bytes;
}

std::string hex_of(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += kDigits[static_cast<unsigned>(byte) >> 4];
    text += kDigits[static_cast<unsigned>(byte) & 15];
  }
  return text;
}

constexpr NoiseName kName = {NoisePurpose::central, 3, 4, 5, 6};

TEST(InputTag, IsPoly1305) {
  // RFC 8439, section 2.5.2.
  const auto key =
      wire::JobKey::from_hex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b");
  constexpr std::string_view kText = "Cryptographic Forum Research Group";
  const InputTag tag(key);
  EXPECT_EQ(hex_of(tag.of(std::as_bytes(std::span(kText)))), "a8061dc1305136c6c22b8baf0c0127a9");
  EXPECT_EQ(tag.of(bytes_for(100)), tag.of(bytes_for(100)));
}

// The construction of the header, written down again in Python with hmac and integers.
TEST(NoiseSecret, DerivesKeysAsItsHeaderSays) {
  const math::ChachaKey key = NoiseSecret(counting_secret()).key(kName, bytes_for(1000));
  EXPECT_EQ(hex_of(std::as_bytes(std::span(key))),
            "dcecbb709f8ad00566ca92ad31b9ce89bf01a1cf2af4a8e95a1f76bd76ae7905");
}

TEST(NoiseSecret, TheSameInputHasTheSameKey) {
  EXPECT_EQ(NoiseSecret(counting_secret()).key(kName, bytes_for(4096)),
            NoiseSecret(counting_secret()).key(kName, bytes_for(4096)));
}

TEST(NoiseSecret, WhateverDiffersHasAnotherKey) {
  const NoiseSecret secret(counting_secret());
  std::vector<std::byte> input = bytes_for(64);
  std::set<math::ChachaKey> keys = {secret.key(kName, input)};
  const auto differs = [&](const math::ChachaKey& key) { return keys.insert(key).second; };
  for (std::size_t bit = 0; bit < 8 * input.size(); ++bit) {
    input[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    EXPECT_TRUE(differs(secret.key(kName, input))) << "bit " << bit;
    input[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
  }
  EXPECT_TRUE(differs(secret.key(kName, std::span(input).first(63))));
  input.push_back(std::byte{0});
  EXPECT_TRUE(differs(secret.key(kName, input)));
  EXPECT_TRUE(differs(secret.key(kName, {})));
  input.pop_back();
  EXPECT_TRUE(differs(secret.key({NoisePurpose::local, 3, 4, 5, 6}, input)));
  EXPECT_TRUE(differs(secret.key({NoisePurpose::central, 4, 4, 5, 6}, input)));
  EXPECT_TRUE(differs(secret.key({NoisePurpose::central, 3, 3, 5, 6}, input)));
  EXPECT_TRUE(differs(secret.key({NoisePurpose::central, 3, 4, 6, 6}, input)));
  EXPECT_TRUE(differs(secret.key({NoisePurpose::central, 3, 4, 5, std::uint64_t{6} << 32}, input)));
  wire::Digest other = counting_secret();
  other[31] ^= std::byte{1};
  EXPECT_TRUE(differs(NoiseSecret(other).key(kName, input)));
}

// The key streams of two steps, and of one step before and after a restart with another batch.
TEST(NoiseSecret, TwoKeysShareNoBlock) {
  const NoiseSecret secret(counting_secret());
  std::set<std::uint64_t> seen;
  std::size_t drawn = 0;
  for (const math::ChachaKey& key :
       {secret.key(kName, bytes_for(64)), secret.key(kName, bytes_for(65)),
        secret.key({NoisePurpose::central, 4, 4, 5, 6}, bytes_for(64))}) {
    std::array<std::uint32_t, math::kChachaWords> words;
    for (std::uint32_t block = 0; block < 1024; block += math::kChachaBlocks) {
      math::chacha20(key, {}, block, words);
      for (std::size_t i = 0; i < words.size(); i += 2) {
        seen.insert(std::uint64_t{words[i]} << 32 | words[i + 1]);
        ++drawn;
      }
    }
  }
  EXPECT_EQ(seen.size(), drawn);  // 64-bit words; two of 25,000 are equal by chance once in 6e10
}

}  // namespace
}  // namespace sheaf::privacy
