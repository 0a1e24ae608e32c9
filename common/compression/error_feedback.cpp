#include "common/compression/error_feedback.h"

#include <algorithm>

#include "common/math/kernels.h"

namespace sheaf::compression {

std::size_t ErrorFeedback::encode(std::span<const float> before, std::span<const float> values,
                                  const EncodingKey& key, std::span<std::byte> bytes,
                                  std::span<float> after) {
  math::sum(values, before, after);
  const std::size_t size = compressor_->encode(after, key, bytes);
  leave_out(after, key, bytes.first(size), after);
  return size;
}

void ErrorFeedback::leave_out(std::span<const float> wanted, const EncodingKey& key,
                              std::span<const std::byte> bytes, std::span<float> after) {
  const std::span<float> sent = sent_.first(wanted.size());
  std::ranges::fill(sent, 0.0F);
  compressor_->decode_add(bytes, key, sent);
  for (std::size_t i = 0; i < after.size(); ++i) after[i] = wanted[i] - sent[i];
}

}  // namespace sheaf::compression
