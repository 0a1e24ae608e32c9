// What workers have of a version where pulls have feedback. EF21-P (Gruntkowska, Tyurin and
// Richtarik, ICML 2023): with w_0 = x_0, version t is known to workers as
//
//   w_t = w_{t-1} + C(x_t - w_{t-1})
//
// and the encoded difference is all that is sent to who has w_{t-1}. What one difference leaves out
// the next one has, so that w follows x. Gradients are computed at w; steps are taken from x.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "common/compression/compressor.h"

namespace sheaf::server {

// Fills in w_t, and the difference of which `encoded` has room for any; the bytes that it takes.
// The same bits for the same input, whoever does it. REQUIRES: nothing overlaps; equal sizes.
inline std::size_t follow_view(const compression::Compressor& pull,
                               const compression::EncodingKey& key, std::span<const float> values,
                               std::span<const float> before, std::span<float> view,
                               std::span<std::byte> encoded) {
  for (std::size_t i = 0; i < view.size(); ++i) view[i] = values[i] - before[i];
  const std::size_t bytes = pull.encode(view, key, encoded);
  std::ranges::copy(before, view.begin());
  pull.decode_add(encoded.first(bytes), key, view);
  return bytes;
}

}  // namespace sheaf::server
