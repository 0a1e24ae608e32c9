#include "common/privacy/gaussian.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <string_view>

#include "common/base/error.h"
#include "common/privacy/noise/normal_noise.h"
#include "common/wire/bytes.h"

namespace sheaf::privacy {
namespace {

constexpr std::string_view kSizeLabel = "sheaf noise size 1";
constexpr std::string_view kDigestLabel = "sheaf release 1";

wire::JobKey bytes_of(const math::ChachaKey& key) {
  wire::Digest bytes;
  for (std::size_t i = 0; i < key.size(); ++i) wire::put<std::uint32_t>(bytes, 4 * i, key[i]);
  return wire::JobKey(bytes);
}

}  // namespace

float deviation_of(double noise, const Clip& clip) {
  check(noise > 0 && clip.norm > 0, "noise that hides something");
  const double exact = noise * clip.norm;
  auto near = static_cast<float>(exact);
  if (static_cast<double>(near) < exact) {
    near = std::nextafter(near, std::numeric_limits<float>::infinity());
  }
  check(std::isfinite(near), "noise of a finite deviation");
  return near;
}

wire::Digest release_digest(const math::ChachaKey& key) {
  return wire::hmac_sha256(bytes_of(key), std::as_bytes(std::span(kDigestLabel)));
}

math::ChachaKey sized(const math::ChachaKey& key, float deviation) {
  std::array<std::byte, kSizeLabel.size() + 4> message{};
  std::ranges::copy(std::as_bytes(std::span(kSizeLabel)), message.begin());
  wire::put<std::uint32_t>(message, kSizeLabel.size(), std::bit_cast<std::uint32_t>(deviation));
  const wire::JobKey derived(wire::hmac_sha256(bytes_of(key), message));
  math::ChachaKey words;
  for (std::size_t i = 0; i < words.size(); ++i) {
    words[i] = wire::get<std::uint32_t>(derived.bytes(), 4 * i);
  }
  return words;
}

Gaussian::Gaussian(Where where, const Clip& clip, double noise, const wire::Digest& secret)
    : where_(where), clip_(clip), deviation_(deviation_of(noise, clip)), secret_(secret) {}

// The key of the noise is a function of the secret, the name, the values and the deviation, and so
// is what is released. A hash of the key, which cannot be turned back, says which it was.
wire::Digest Gaussian::perturb(std::span<float> values, const NoiseKey& key) const {
  const NoisePurpose purpose = where_ == Where::local ? NoisePurpose::local : NoisePurpose::central;
  const NoiseName name{purpose, key.step, key.partition, 0, key.chunk};
  const math::ChachaKey noise = sized(secret_.key(name, std::as_bytes(values)), deviation_);
  NormalNoise(noise).add(deviation_, values);
  return release_digest(noise);
}

}  // namespace sheaf::privacy
