#include "common/privacy/noise/secret_words.h"

#include "common/base/error.h"

namespace sheaf::privacy {

std::uint32_t SecretWords::next() {
  if (used_ == words_.size()) {
    check(blocks_ < (std::uint64_t{1} << 32), "a key stream has 2^32 blocks");
    const auto first = static_cast<std::uint32_t>(blocks_);
    math::chacha20(key_, {stream_, 0, 0}, first, words_);
    blocks_ += math::kChachaBlocks;
    used_ = 0;
  }
  return words_[used_++];
}

std::uint64_t SecretWords::next64() {
  const std::uint64_t high = next();
  return (high << 32) | next();
}

// As many bits as bound - 1 has, again and again until they are below it: twice on average at
// worst.
UInt128 SecretWords::below(UInt128 bound) {
  UInt128 mask = bound - 1;
  for (unsigned shift = 1; shift < 128; shift *= 2) mask |= mask >> shift;
  for (;;) {
    UInt128 bits = next();
    for (UInt128 rest = mask >> 32; rest != 0; rest >>= 32) bits = (bits << 32) | next();
    bits &= mask;
    if (bits < bound) return bits;
  }
}

}  // namespace sheaf::privacy
