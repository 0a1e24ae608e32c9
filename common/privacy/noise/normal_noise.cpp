#include "common/privacy/noise/normal_noise.h"

#include <algorithm>
#include <array>

#include "common/base/error.h"
#include "common/privacy/noise/secret_words.h"

namespace sheaf::privacy {
namespace {

constexpr std::size_t kGroup = 1024;  // deviates made at once, of 64 blocks; part of the definition
constexpr std::size_t kPairs = kGroup / 2;
constexpr std::uint32_t kMainStream = 0, kTailStream = 1;

using Words = std::array<std::uint32_t, kGroup>;
using Normals = std::array<float, kGroup>;

// Pairs whose uniform has too few digits left are made of further bits: once in 2^24 pairs, from a
// stream of its own for each group.
void replace_tails(const math::ChachaKey& key, std::size_t group, const Words& words,
                   Normals& normals) {
  SecretWords more(key, kTailStream + static_cast<std::uint32_t>(group));
  for (std::size_t i = 0; i < kPairs; ++i) {
    if (words[i] >= 256) continue;
    const math::NormalPair pair = math::normal_tail(words[kPairs + i], more.next64());
    normals[i] = pair.cosine;
    normals[kPairs + i] = pair.sine;
  }
}

void make_group(const math::ChachaKey& key, std::size_t group, Normals& normals) {
  Words words;
  constexpr std::size_t kBlocks = kGroup / 16;
  for (std::size_t block = 0; block < kBlocks; block += math::kChachaBlocks) {
    math::chacha20(key, {kMainStream, 0, 0}, static_cast<std::uint32_t>(group * kBlocks + block),
                   std::span(words).subspan(16 * block).first<math::kChachaWords>());
  }
  if (math::normals(words, normals)) replace_tails(key, group, words, normals);
}

}  // namespace

template <typename Use>
void NormalNoise::for_each_group(std::size_t size, const Use& use) const {
  check(size < (std::size_t{1} << 36), "a key has noise for 2^36 values");
  Normals normals;
  for (std::size_t group = 0; group * kGroup < size; ++group) {
    make_group(key_, group, normals);
    const std::size_t from = group * kGroup;
    use(from, std::span<const float>(normals).first(std::min(kGroup, size - from)));
  }
}

void NormalNoise::add(float deviation, std::span<float> values) const {
  for_each_group(values.size(), [&](std::size_t from, std::span<const float> normals) {
    for (std::size_t i = 0; i < normals.size(); ++i) values[from + i] += deviation * normals[i];
  });
}

void NormalNoise::fill(std::span<float> values) const {
  for_each_group(values.size(), [&](std::size_t from, std::span<const float> normals) {
    std::ranges::copy(normals, values.begin() + static_cast<std::ptrdiff_t>(from));
  });
}

}  // namespace sheaf::privacy
