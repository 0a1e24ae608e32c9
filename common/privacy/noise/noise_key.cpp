#include "common/privacy/noise/noise_key.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "common/wire/bytes.h"

namespace sheaf::privacy {
namespace {

constexpr std::string_view kSalt = "sheaf noise 1";
constexpr std::string_view kTagLabel = "sheaf noise tag 1";

// HKDF-Extract: HMAC(salt, secret). A salt is filled up with zeros to the block of the hash, so
// here to a key of 32 bytes.
wire::JobKey extract(const wire::Digest& secret) {
  wire::Digest salt{};
  std::memcpy(salt.data(), kSalt.data(), kSalt.size());
  return wire::JobKey(wire::hmac_sha256(wire::JobKey(salt), secret));
}

// HKDF-Expand to 32 bytes: one round.
wire::Digest expand(const wire::JobKey& extracted, std::span<const std::byte> info) {
  std::array<std::byte, 128> message{};
  std::ranges::copy(info, message.begin());
  message[info.size()] = std::byte{1};
  return wire::hmac_sha256(extracted, std::span(message).first(info.size() + 1));
}

}  // namespace

NoiseSecret::NoiseSecret(const wire::Digest& secret)
    : extracted_(extract(secret)),
      tag_(wire::JobKey(expand(extracted_, std::as_bytes(std::span(kTagLabel))))) {}

math::ChachaKey NoiseSecret::key(const NoiseName& name, std::span<const std::byte> input) const {
  std::array<std::byte, 52> info{};
  wire::put<std::uint32_t>(info, 0, static_cast<std::uint32_t>(name.purpose));
  wire::put<std::uint64_t>(info, 4, name.step);
  wire::put<std::uint32_t>(info, 12, name.partition);
  wire::put<std::uint32_t>(info, 16, name.table);
  wire::put<std::uint64_t>(info, 20, name.chunk);
  wire::put<std::uint64_t>(info, 28, input.size());
  std::ranges::copy(tag_.of(input), info.begin() + 36);
  const wire::JobKey derived(expand(extracted_, info));
  math::ChachaKey key;
  for (std::size_t i = 0; i < key.size(); ++i) {
    key[i] = wire::get<std::uint32_t>(derived.bytes(), 4 * i);
  }
  return key;
}

}  // namespace sheaf::privacy
