#include "common/math/secure_random.h"

#include "common/base/error.h"
#include "common/math/elementary.h"
#include "common/math/kernel_set.h"
#include "common/math/normal_pair.h"

namespace sheaf::math {
namespace {

const KernelSet& widest() {
  static const KernelSet& chosen = *supported_kernels().back();
  return chosen;
}

}  // namespace

void chacha20(const ChachaKey& key, const ChachaNonce& nonce, std::uint32_t first,
              std::span<std::uint32_t, kChachaWords> words) {
  widest().chacha20(key.data(), nonce.data(), first, words.data());
}

bool normals(std::span<const std::uint32_t> words, std::span<float> normals) {
  check(words.size() == normals.size() && words.size() % 2 == 0, "normals come in pairs");
  return widest().normals(words.data(), normals.data(), words.size());
}

NormalPair normal_tail(std::uint32_t b, std::uint64_t more) {
  const double u = (static_cast<double>(more) + 0.5) * 0x1p-88;
  const auto radius = static_cast<float>(__builtin_sqrt(-2.0 * log_of(u)));
  const Direction2 direction = direction_of(b);
  return {radius * direction.cosine, radius * direction.sine};
}

}  // namespace sheaf::math
