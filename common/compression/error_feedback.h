// What a compressor leaves out of one partition's pushes, kept and added to the next (Seide et al.,
// Interspeech 2014; Karimireddy et al., ICML 2019): with e = 0 at first, each push of g is
//
//   t = g + e;  sends C(t);  e = t - C(t)
//
// so that all that was sent and e are all there was: exactly where the compressor's residuals are
// exact and no sum rounds. Values are what is pushed, sums of gradients over examples: the rate of
// the step in which a value is sent is the one that it gets.
// Belongs to one partition, and to one thread. Lost with its process.
#pragma once

#include <cstddef>
#include <span>

#include "common/base/aligned_buffer.h"
#include "common/compression/compressor.h"

namespace sheaf::compression {

class ErrorFeedback {
 public:
  // For a vector of so many values, in chunks of at most `largest`. `compressor` outlives it.
  ErrorFeedback(const Compressor& compressor, std::size_t elements, std::size_t largest)
      : compressor_(&compressor), residual_(elements), sent_(largest) {}

  // Encodes the chunk that begins at `offset`; keeps what is left out of it. Each chunk of a step
  // once, in the order of the steps. Otherwise as Compressor::encode(); what is not finite leaves a
  // residual of no use.
  std::size_t encode(std::size_t offset, std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes);

  std::span<const float> residual() const { return residual_.span(); }

 private:
  const Compressor* compressor_;
  AlignedBuffer<float> residual_;
  AlignedBuffer<float> sent_;  // of one chunk
};

}  // namespace sheaf::compression
