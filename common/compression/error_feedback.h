// What a compressor leaves out of one partition's pushes, kept and added to the next (Seide et al.,
// Interspeech 2014; Karimireddy et al., ICML 2019): with e = 0 at first, each push of g is
//
//   t = g + e;  sends C(t);  e = t - C(t)
//
// so that all that was sent and e are all there was: exactly where the compressor's residuals are
// exact and no sum rounds. Values are what is pushed, sums of gradients over examples: the rate of
// the step in which a value is sent is the one that it gets.
// The residuals belong to the caller. Belongs to one thread.
#pragma once

#include <cstddef>
#include <span>

#include "common/base/aligned_buffer.h"
#include "common/compression/compressor.h"

namespace sheaf::compression {

class ErrorFeedback {
 public:
  // For chunks of at most `largest` values. `compressor` outlives it.
  ErrorFeedback(const Compressor& compressor, std::size_t largest)
      : compressor_(&compressor), sent_(largest) {}

  // Encodes the values of a chunk, of which `before` was left out until now, and leaves in `after`
  // what is left out then. Otherwise as Compressor::encode(); what is not finite leaves a residual
  // of no use. REQUIRES: `after` has the size of the values, and is no part of `before`.
  std::size_t encode(std::span<const float> before, std::span<const float> values,
                     const EncodingKey& key, std::span<std::byte> bytes, std::span<float> after);
  // Of t, `wanted`, encoded as `bytes` by whoever knows more than a compressor: leaves in `after`
  // what is left out. `after` may be `wanted`.
  void leave_out(std::span<const float> wanted, const EncodingKey& key,
                 std::span<const std::byte> bytes, std::span<float> after);

 private:
  const Compressor* compressor_;
  AlignedBuffer<float> sent_;  // of one chunk
};

}  // namespace sheaf::compression
