#include "common/compression/error_feedback.h"

#include <algorithm>

#include "common/math/kernels.h"

namespace sheaf::compression {

std::size_t ErrorFeedback::encode(std::size_t offset, std::span<const float> values,
                                  const EncodingKey& key, std::span<std::byte> bytes) {
  const std::span<float> t = residual_.span().subspan(offset, values.size());
  math::add(values, t);
  const std::size_t size = compressor_->encode(t, key, bytes);
  const std::span<float> sent = sent_.first(values.size());
  std::ranges::fill(sent, 0.0F);
  compressor_->decode_add(bytes.first(size), key, sent);
  for (std::size_t i = 0; i < t.size(); ++i) t[i] -= sent[i];
  return size;
}

}  // namespace sheaf::compression
