#include "worker/data/transforms/wavelets.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <numeric>

namespace sheaf::worker {
namespace {

using Complex = std::complex<double>;
using std::numbers::pi;

constexpr double kSigma = 0.8;             // of scale 1
constexpr double kFrequency = 3 * pi / 4;  // of scale 1
// A bell is nothing to a double behind so many deviations.
constexpr double kReach = 9;

long reach(double sigma) { return static_cast<long>(std::ceil(kReach * sigma)); }

// The place of sample `at` on a circle of `size` samples.
std::size_t wrapped(long at, std::size_t size) {
  const long around = static_cast<long>(size);
  return static_cast<std::size_t>((at % around + around) % around);
}

// The wave under its bell, wrapped around the grid; with frequency 0 the bell itself.
std::vector<Complex> wrapped_wave(const Grid& grid, const Morlet& morlet, double frequency) {
  const double sigma = kSigma * morlet.scale;
  const double c = std::cos(morlet.angle), s = std::sin(morlet.angle);
  const long end = reach(sigma / std::min(1.0, morlet.slant));
  std::vector<Complex> values(grid.size());
  for (long row = -end; row <= end; ++row) {
    for (long column = -end; column <= end; ++column) {
      const auto y = static_cast<double>(row), x = static_cast<double>(column);
      const double along = c * y + s * x;
      const double across = morlet.slant * (c * x - s * y);
      const double bell = std::exp(-(along * along + across * across) / (2 * sigma * sigma));
      values[wrapped(row, grid.height) * grid.width + wrapped(column, grid.width)] +=
          std::polar(bell, frequency * along);
    }
  }
  for (Complex& value : values) value *= morlet.slant / (2 * pi * sigma * sigma);
  return values;
}

Complex sum(const std::vector<Complex>& values) {
  return std::accumulate(values.begin(), values.end(), Complex(0));
}

// Along the last of two dimensions, with the result transposed: twice makes a transform of both.
std::vector<Complex> transform_rows(const std::vector<Complex>& values, std::size_t width) {
  const std::size_t height = values.size() / width;
  std::vector<Complex> turns(width);
  for (std::size_t k = 0; k < width; ++k) {
    turns[k] = std::polar(1.0, -2 * pi * static_cast<double>(k) / static_cast<double>(width));
  }
  std::vector<Complex> spectrum(values.size());
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t k = 0; k < width; ++k) {
      Complex total = 0;
      for (std::size_t x = 0; x < width; ++x) total += values[y * width + x] * turns[k * x % width];
      spectrum[k * height + y] = total;
    }
  }
  return spectrum;
}

}  // namespace

std::vector<double> morlet_spectrum(const Grid& grid, const Morlet& morlet) {
  std::vector<Complex> wave = wrapped_wave(grid, morlet, kFrequency / morlet.scale);
  const std::vector<Complex> bell = wrapped_wave(grid, morlet, 0);
  const Complex k = sum(wave) / sum(bell);
  for (std::size_t i = 0; i < wave.size(); ++i) wave[i] -= k * bell[i];
  const auto spectrum = transform_rows(transform_rows(wave, grid.width), grid.height);
  std::vector<double> result(spectrum.size());
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = spectrum[i].real();
  result[0] = 0;  // the mean, but for rounding
  return result;
}

std::vector<double> periodic_bell(std::size_t size, double sigma) {
  std::vector<double> bell(size);
  const long end = reach(sigma);
  for (long x = -end; x <= end; ++x) {
    const double along = static_cast<double>(x) / sigma;
    bell[wrapped(x, size)] += std::exp(-along * along / 2);
  }
  const double total = std::accumulate(bell.begin(), bell.end(), 0.0);
  for (double& value : bell) value /= total;
  return bell;
}

}  // namespace sheaf::worker
