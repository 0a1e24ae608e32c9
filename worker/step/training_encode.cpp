// What leaves of a chunk where pushes are lossy, and what is kept of it for the next ones.
#include <algorithm>

#include "worker/step/training_step.h"

namespace sheaf::worker {

std::span<const std::byte> TrainingStep::encode(Step step, std::uint32_t chunk, Noised values,
                                                std::uint32_t partition,
                                                std::span<std::byte> into) {
  const compression::EncodingKey key{parts_.seed, step, partition, chunk};
  if (parts_.residuals == nullptr) {
    return into.first(parts_.compressor.encode(values.values(), key, into));
  }
  ResidualSlots& residuals = parts_.residuals->of(partition);
  // Whoever was this worker before may have pushed it: then the same goes out again.
  if (const auto pushed = residuals.pushed(chunk, step)) {
    std::ranges::copy(*pushed, into.begin());
    return into.first(pushed->size());
  }
  const std::span<const float> before = residuals.before(chunk, step);
  const auto payload = into.first(
      encode_with_feedback(key, before, values.values(), into, residuals.open(chunk, step)));
  residuals.commit(chunk, step, payload);
  return payload;
}

std::size_t TrainingStep::encode_with_feedback(const compression::EncodingKey& key,
                                               std::span<const float> before,
                                               std::span<const float> values,
                                               std::span<std::byte> bytes, std::span<float> after) {
  using compression::EstimateFeedback;
  const std::size_t n = values.size();
  if (momentum_) {
    return momentum_->encode({before.first(n), before.subspan(n)}, values, key, bytes,
                             {after.first(n), after.subspan(n)});
  }
  if (estimate_) {  // of a usual step, however many examples this one has
    const auto usual = static_cast<double>(parts_.plan.batch(key.partition));
    const auto weight =
        static_cast<float>(usual / static_cast<double>(parts_.plan.count(key.step, key.partition)));
    return estimate_->encode(EstimateFeedback::state_of(before, n), values, weight, key, bytes,
                             EstimateFeedback::state_of(after, n));
  }
  return feedback_->encode(before, values, key, bytes, after);
}

}  // namespace sheaf::worker
