// The filters of the scattering transform, sampled on periodic grids. Pure functions, in doubles.
//
// The Morlet wavelet of scale s and angle a is a plane wave under a Gauss bell, less the bell times
// the K that makes its mean 0:
//   psi(u) = (e^(i xi n.u) - K) exp(-(x^2 + slant^2 y^2) / (2 sigma^2)) slant / (2 pi sigma^2)
// with n the direction of a, x and y the coordinates of u along and across it, sigma = 0.8 s and
// xi = 3 pi / (4 s); the low-pass filter is a bell. Bruna and Mallat, "Invariant scattering
// convolution networks", PAMI 2013; these constants: Andreux et al., "Kymatio", JMLR 2020.
#pragma once

#include <cstddef>
#include <vector>

namespace sheaf::worker {

struct Grid {
  std::size_t height = 0;
  std::size_t width = 0;
  std::size_t size() const { return height * width; }
  bool operator==(const Grid&) const = default;
};

struct Morlet {
  double scale = 1;  // in samples of the grid
  double angle = 0;  // radians, from the direction in which rows go on to that along a row
  double slant = 1;  // width along the direction over width across it
};

// The discrete Fourier transform of the wavelet around (0, 0), which is real: (height x width),
// frequency 0 first.
std::vector<double> morlet_spectrum(const Grid& grid, const Morlet& morlet);

// A bell of deviation `sigma` around 0 on a circle of `size` samples; its sum is 1.
std::vector<double> periodic_bell(std::size_t size, double sigma);

}  // namespace sheaf::worker
