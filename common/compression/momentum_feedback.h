// What a compressor leaves out of one partition's pushes, where momentum is taken before it is sent
// and not by the servers' optimizer (deep gradient compression: Lin et al., ICLR 2018): with
// velocity u = 0 and e = 0 at first, each push of g is
//
//   u = m u + g;  t = e + u;  sends C(t);  e = t - C(t);  u = 0 where C(t) is not
//
// so that a value that was kept for long does not go on in a direction that is out of date
// ("momentum factor masking"). Where C leaves nothing out of a chunk nothing is out of date, and u
// stays: that is plain momentum. Both belong to the caller. Belongs to one thread.
#pragma once

#include <cstddef>
#include <span>

#include "common/base/aligned_buffer.h"
#include "common/compression/compressor.h"

namespace sheaf::compression {

class MomentumFeedback {
 public:
  // Of one chunk.
  template <typename Float>
  struct State {
    std::span<Float> left_out;  // e
    std::span<Float> velocity;  // u
  };
  // For chunks of at most `largest` values. `compressor` outlives it.
  MomentumFeedback(const Compressor& compressor, double factor, std::size_t largest)
      : compressor_(&compressor), factor_(static_cast<float>(factor)), sent_(largest) {}

  // As ErrorFeedback::encode(). REQUIRES: all spans have the size of the values, and `after` is no
  // part of `before`.
  std::size_t encode(const State<const float>& before, std::span<const float> values,
                     const EncodingKey& key, std::span<std::byte> bytes, const State<float>& after);

 private:
  const Compressor* compressor_;
  float factor_;
  AlignedBuffer<float> sent_;  // of one chunk
};

}  // namespace sheaf::compression
