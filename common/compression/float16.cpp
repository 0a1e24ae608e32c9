#include "common/compression/float16.h"

#include "common/base/error.h"
#include "common/compression/refusals.h"

namespace sheaf::compression {

// The distance to the nearest number of a format is a float whose last place is not below that of
// the value itself, and is no larger than the value. Also when that saturates, unless 65504 is
// finer than the last place of the value: from 2^29 on.
Promises Float16Compressor::promises(std::size_t) const {
  return {.contraction = contraction_, .exact_residual = true, .every_value = true};
}

std::size_t Float16Compressor::encode(std::span<const float> values, const EncodingKey& key,
                                      std::span<std::byte> bytes) const {
  if (!math::to_float16(kind_, values, bytes)) fail_not_finite(key);
  return max_bytes(values.size());
}

void Float16Compressor::decode_add(std::span<const std::byte> bytes, const EncodingKey&,
                                   std::span<float> sum) const {
  expect_bytes(name_, bytes.size(), max_bytes(sum.size()), sum.size());
  if (!math::is_finite(kind_, bytes)) {
    fail(Fault::network, "compressor {}: found a value that is not finite", name_);
  }
  math::add_float16(kind_, bytes, sum);
}

}  // namespace sheaf::compression
