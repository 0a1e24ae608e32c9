#include "common/compression/error_feedback.h"

#include <algorithm>

#include "common/math/kernels.h"

namespace sheaf::compression {

std::size_t ErrorFeedback::encode(std::span<const float> before, std::span<const float> values,
                                  const EncodingKey& key, std::span<std::byte> bytes,
                                  std::span<float> after) {
  math::sum(values, before, after);
  const std::size_t size = compressor_->encode(after, key, bytes);
  const std::span<float> sent = sent_.first(values.size());
  std::ranges::fill(sent, 0.0F);
  compressor_->decode_add(bytes.first(size), key, sent);
  for (std::size_t i = 0; i < after.size(); ++i) after[i] -= sent[i];
  return size;
}

}  // namespace sheaf::compression
