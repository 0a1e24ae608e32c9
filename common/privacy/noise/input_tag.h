// A secret fingerprint of bytes: Poly1305 (RFC 8439) with one key for many messages, which is sound
// only because the tags stay secret; see noise_key.h. The door to it of OpenSSL.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "common/wire/handshake.h"

namespace sheaf::privacy {

// Immutable and thread-safe.
class InputTag {
 public:
  using Tag = std::array<std::byte, 16>;

  explicit InputTag(const wire::JobKey& key);
  ~InputTag();
  InputTag(const InputTag&) = delete;
  InputTag& operator=(const InputTag&) = delete;

  Tag of(std::span<const std::byte> bytes) const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;  // holds the key; it wipes it
};

}  // namespace sheaf::privacy
