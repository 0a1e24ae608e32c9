// What servers have been told of one partition's gradient, of which each push sends what is new
// (EF21: Richtarik, Sokolov and Fatkhullin, NeurIPS 2021), with g = 0 at first:
//
//   sends C(x - g);  g = g + C(x - g)
//
// Servers add what all partitions send to the sum of their g, and take that for the gradient. So
// nothing is left out for long, and what is sent becomes small as gradients settle, whatever C does
// to large values. x is the gradient of a usual step: an estimate outlives the step, so it cannot
// be of as many examples as one step happens to have. With momentum (EF21-SGDM: Fatkhullin, Tyurin
// and Richtarik, NeurIPS 2023, where 1 - m is called eta) x is the mean of gradients, v = 0 at
// first:
//
//   v = m v + (1 - m) gradient;  x = v
//
// as estimates of single gradients would follow their noise. g and v belong to the caller. Belongs
// to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/base/aligned_buffer.h"
#include "common/compression/compressor.h"

namespace sheaf::compression {

class EstimateFeedback {
 public:
  // Of one chunk.
  template <typename Float>
  struct State {
    std::span<Float> estimate;  // g
    std::span<Float> velocity;  // v; empty without momentum
  };
  // What is kept of a chunk of n values, estimate first, in runs(momentum) n of them.
  template <typename Float>
  static State<Float> state_of(std::span<Float> kept, std::size_t n) {
    return {kept.first(n), kept.subspan(n)};
  }
  static std::uint32_t runs(double momentum) { return momentum > 0 ? 2 : 1; }

  // For chunks of at most `largest` values. `compressor` outlives it. REQUIRES: 0 <= momentum < 1.
  EstimateFeedback(const Compressor& compressor, double momentum, std::size_t largest)
      : compressor_(&compressor),
        kept_(static_cast<float>(momentum)),
        taken_(static_cast<float>(1 - momentum)),
        news_(largest) {}

  // Encodes what is new in a chunk of `weight` times `values`, and leaves in `after` what servers
  // have then. Otherwise as ErrorFeedback::encode(). REQUIRES: all spans have the size of the
  // values, but for both velocities of which there are none without momentum; `after` is no part of
  // `before`.
  std::size_t encode(const State<const float>& before, std::span<const float> values, float weight,
                     const EncodingKey& key, std::span<std::byte> bytes, const State<float>& after);

 private:
  const Compressor* compressor_;
  float kept_;                 // m
  float taken_;                // 1 - m
  AlignedBuffer<float> news_;  // of one chunk
};

}  // namespace sheaf::compression
