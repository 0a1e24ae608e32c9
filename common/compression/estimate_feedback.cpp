#include "common/compression/estimate_feedback.h"

#include <algorithm>

namespace sheaf::compression {

std::size_t EstimateFeedback::encode(const State<const float>& before,
                                     std::span<const float> values, float weight,
                                     const EncodingKey& key, std::span<std::byte> bytes,
                                     const State<float>& after) {
  const std::span<float> news = news_.first(values.size());
  if (after.velocity.empty()) {
    for (std::size_t i = 0; i < news.size(); ++i) {
      const float gradient = weight * values[i];
      news[i] = gradient - before.estimate[i];
    }
  } else {
    for (std::size_t i = 0; i < news.size(); ++i) {
      const float gradient = weight * values[i];
      const float kept = kept_ * before.velocity[i];
      const float taken = taken_ * gradient;
      after.velocity[i] = kept + taken;
      news[i] = after.velocity[i] - before.estimate[i];
    }
  }
  const std::size_t size = compressor_->encode(news, key, bytes);
  std::ranges::copy(before.estimate, after.estimate.begin());
  compressor_->decode_add(bytes.first(size), key, after.estimate);
  return size;
}

}  // namespace sheaf::compression
