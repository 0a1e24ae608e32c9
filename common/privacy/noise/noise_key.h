// Which noise goes where. All of a run's noise comes from one secret of 256 bits, and what is drawn
// is a function of it, of what the noise is for, and of the exact bytes that it will hide. So a
// chunk that is released again releases the same value, and whatever differs in a single bit, after
// a restart, say, gets noise that has nothing to do with the other's: no two releases can be
// subtracted to show what they hide.
//
// The key of one chunk is that of HKDF-SHA256 (RFC 5869),
//
//   HMAC(HMAC("sheaf noise 1", secret), name | length | tag | 1)
//
// where the tag is Poly1305 (RFC 8439) of the bytes, under a key that HKDF makes of the secret,
// too. A tag of 1 MiB is equal for two inputs with probability below 2^-86, whoever chose them, as
// long as neither key nor tag is seen, and none ever is: they go nowhere but into the HMAC. A hash
// that needs no key would do as well, at an eighth of the speed or less.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/base/ids.h"
#include "common/math/secure_random.h"
#include "common/privacy/noise/input_tag.h"
#include "common/wire/handshake.h"

namespace sheaf::privacy {

enum class NoisePurpose : std::uint32_t {
  local = 1,       // added by a worker to a partition's gradient
  central = 2,     // added by a server to a sum
  sampling = 3,    // none: which examples of a partition take part
  correlated = 4,  // white noise that several steps add, or the digest of a sum that it hides
  test = 1000,
};

struct NoiseName {
  NoisePurpose purpose = NoisePurpose::test;
  Step step = 0;
  std::uint32_t partition = 0;
  std::uint32_t table = 0;  // 0: the vector
  std::uint64_t chunk = 0;  // or key bucket
};

// Immutable and thread-safe; wiped when destroyed. Never printed, logged or put in a config.
class NoiseSecret {
 public:
  explicit NoiseSecret(const wire::Digest& secret);

  // The key of the noise that hides `input` under this name; or, without an input, of draws.
  math::ChachaKey key(const NoiseName& name, std::span<const std::byte> input) const;

 private:
  wire::JobKey extracted_;
  InputTag tag_;
};

}  // namespace sheaf::privacy
