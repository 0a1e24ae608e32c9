// Discrete Fourier transforms of a fixed small size as matrix products, of many arrays at once. For
// sizes of some tens that need not be powers of two, this takes less code than a fast transform and
// not much more time, since products are what a processor does best.
//
// `count` arrays of (height x width) stand as (y, i, x): row y of all arrays, then row y + 1. A
// spectrum is the same with frequencies in the places of y and x, twice: all real parts, then all
// imaginary parts. The bits of an array's transform depend on `count`, on no other array. Owns its
// matrices and a buffer; not thread-safe.
#pragma once

#include <cstddef>
#include <span>

#include "common/base/aligned_buffer.h"
#include "worker/data/transforms/wavelets.h"

namespace sheaf::worker {

class FourierProducts {
 public:
  // For at most `most` arrays at once.
  FourierProducts(const Grid& grid, std::size_t most);

  const Grid& grid() const { return grid_; }

  // The spectrum of real arrays: sums of values times e^(-2 pi i (k y / height + l x / width)).
  // Both allocate nothing. REQUIRES: count <= most, sizes that follow from it.
  void forward(std::span<const float> values, std::size_t count, std::span<float> spectrum);
  // The complex arrays of a spectrum, in its layout, not divided by height x width.
  void inverse(std::span<const float> spectrum, std::size_t count, std::span<float> values);

 private:
  // From the right: (re + i im) (cosine + i sign sine), row by row of all arrays.
  void along_rows(std::size_t count, const float* sine, const float* minus_sine, float* out);

  Grid grid_;
  AlignedBuffer<float> from_values_;    // (2 height x height): what makes a spectrum along y
  AlignedBuffer<float> from_spectrum_;  // (2 height x 2 height): the way back
  AlignedBuffer<float> cosine_;         // (width x width)
  AlignedBuffer<float> sine_;
  AlignedBuffer<float> minus_sine_;
  AlignedBuffer<float> half_;  // transformed along y
};

}  // namespace sheaf::worker
