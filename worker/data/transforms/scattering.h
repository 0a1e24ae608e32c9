// The scattering transform of an image: averages of the moduli of its wavelet coefficients, and of
// theirs (orders 0, 1 and 2).
//   S0 = x * phi;   S1[j, l] = |x * psi_jl| * phi;   S2[j, l, j', l'] = ||x * psi_jl| * psi_j'l'| *
//   phi with j < j', each taken at every 2^J-th row and column
// psi_jl is the Morlet wavelet (wavelets.h) of scale 2^j and angle pi l / L, phi a Gauss bell of
// deviation 0.8 2^(J - 1); the image is continued by reflection. Stéphane Mallat, "Group invariant
// scattering", 2012; Bruna and Mallat, "Invariant scattering convolution networks", PAMI 2013.
//
// |x * psi| of scale 2^j is kept at every 2^j-th row and column: the next filters then are those of
// a coarser grid. The bits of an image depend on nothing else. Owns its memory; not thread-safe.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "worker/data/transforms/fourier_products.h"
#include "worker/data/transforms/wavelets.h"

namespace sheaf::worker {

struct ScatteringShape {
  Grid image;                    // each side at least 2^scales
  std::size_t scales = 2;        // J, at least 1
  std::size_t orientations = 8;  // L, at least 1

  std::size_t step() const { return std::size_t{1} << scales; }  // pixels between two outputs
  Grid outputs() const { return {image.height / step(), image.width / step()}; }
  // 1 + J L + L^2 J (J - 1) / 2
  std::size_t channels() const {
    return 1 + scales * orientations + orientations * orientations * scales * (scales - 1) / 2;
  }
};

class Scattering {
 public:
  explicit Scattering(const ScatteringShape& shape);

  // Writes (channels x output rows x output columns): order 0; order 1 by (j, l); order 2 by
  // (j, l, j', l'). Allocates nothing.
  void apply(std::span<const float> image, std::span<float> out);

 private:
  // What is done at every 2^level-th pixel.
  struct Level {
    FourierProducts fourier;
    // By j - level: the spectra of psi_jl on this grid, (L x height x width), over its size, since
    // the way back from a spectrum does not divide.
    std::vector<AlignedBuffer<float>> filters;
    AlignedBuffer<float> low_pass_rows;     // (output rows x height)
    AlignedBuffer<float> low_pass_columns;  // (width x output columns)
  };

  Level make_level(std::size_t level) const;
  void pad(std::span<const float> image);
  // Filters array `of` among `count`, whose spectra on the grid of `level` are given, at scale j in
  // all orientations; returns the moduli (height, l, width) on the grid of j.
  std::span<const float> filter(std::span<const float> spectrum, std::size_t of, std::size_t count,
                                std::size_t level, std::size_t j);
  // The averages of `count` arrays of a level, a channel each.
  void average(std::size_t level, std::span<const float> values, std::size_t count,
               std::span<float> channels);

  ScatteringShape shape_;
  Grid padded_;  // the image with its margin
  std::vector<Level> levels_;
  AlignedBuffer<float> image_;     // padded
  AlignedBuffer<float> spectrum_;  // of it
  AlignedBuffer<float> moduli_;    // the latest
  AlignedBuffer<float> moduli_spectrum_;
  AlignedBuffer<float> folded_;    // a filtered spectrum, on the grid of its scale
  AlignedBuffer<float> filtered_;  // complex
  AlignedBuffer<float> half_averaged_;
  AlignedBuffer<float> averaged_;
};

}  // namespace sheaf::worker
