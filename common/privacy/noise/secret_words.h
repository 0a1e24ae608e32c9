// The words of a ChaCha20 key stream one after the other, for whoever draws a few at a time.
// Not thread-safe.
#pragma once

#include <cstdint>

#include "common/math/secure_random.h"

namespace sheaf::privacy {

__extension__ using UInt128 = unsigned __int128;

class SecretWords {
 public:
  // Different streams of one key share nothing.
  SecretWords(const math::ChachaKey& key, std::uint32_t stream) : key_(key), stream_(stream) {}

  std::uint32_t next();
  std::uint64_t next64();
  // Uniform on 0, …, bound - 1, exactly. REQUIRES: bound > 0.
  UInt128 below(UInt128 bound);

 private:
  math::ChachaKey key_;
  std::uint32_t stream_;
  std::uint64_t blocks_ = 0;  // made so far
  std::size_t used_ = math::kChachaWords;
  std::array<std::uint32_t, math::kChachaWords> words_{};
};

}  // namespace sheaf::privacy
