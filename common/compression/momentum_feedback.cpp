#include "common/compression/momentum_feedback.h"

#include <algorithm>

namespace sheaf::compression {

std::size_t MomentumFeedback::encode(const State<const float>& before,
                                     std::span<const float> values, const EncodingKey& key,
                                     std::span<std::byte> bytes, const State<float>& after) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float kept = factor_ * before.velocity[i];
    after.velocity[i] = kept + values[i];
    after.left_out[i] = before.left_out[i] + after.velocity[i];
  }
  const std::size_t size = compressor_->encode(after.left_out, key, bytes);
  const std::span<float> sent = sent_.first(values.size());
  std::ranges::fill(sent, 0.0F);
  compressor_->decode_add(bytes.first(size), key, sent);
  bool whole = true;
  for (std::size_t i = 0; i < values.size(); ++i) {
    after.left_out[i] -= sent[i];
    whole = whole && after.left_out[i] == 0;
  }
  if (whole) return size;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (sent[i] != 0) after.velocity[i] = 0;
  }
  return size;
}

}  // namespace sheaf::compression
