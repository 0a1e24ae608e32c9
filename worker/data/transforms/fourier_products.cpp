#include "worker/data/transforms/fourier_products.h"

#include <cmath>
#include <numbers>

#include "common/base/error.h"
#include "common/math/blas.h"

namespace sheaf::worker {
namespace {

// cos or sin of 2 pi k x / size, exact to the rounding of the result.
double angle(std::size_t k, std::size_t x, std::size_t size) {
  return 2 * std::numbers::pi * static_cast<double>(k * x % size) / static_cast<double>(size);
}

}  // namespace

FourierProducts::FourierProducts(const Grid& grid, std::size_t most)
    : grid_(grid),
      from_values_(2 * grid.height * grid.height),
      from_spectrum_(4 * grid.height * grid.height),
      cosine_(grid.width * grid.width),
      sine_(grid.width * grid.width),
      minus_sine_(grid.width * grid.width),
      half_(2 * grid.size() * most) {
  const std::size_t h = grid.height, w = grid.width;
  for (std::size_t k = 0; k < h; ++k) {
    for (std::size_t y = 0; y < h; ++y) {
      const auto c = static_cast<float>(std::cos(angle(k, y, h)));
      const auto s = static_cast<float>(std::sin(angle(k, y, h)));
      from_values_[k * h + y] = c;
      from_values_[(h + k) * h + y] = -s;
      // Row y of the real part, then of the imaginary one, from all frequencies k.
      from_spectrum_[y * 2 * h + k] = c;
      from_spectrum_[y * 2 * h + h + k] = -s;
      from_spectrum_[(h + y) * 2 * h + k] = s;
      from_spectrum_[(h + y) * 2 * h + h + k] = c;
    }
  }
  for (std::size_t k = 0; k < w; ++k) {
    for (std::size_t x = 0; x < w; ++x) {
      cosine_[k * w + x] = static_cast<float>(std::cos(angle(k, x, w)));
      sine_[k * w + x] = static_cast<float>(std::sin(angle(k, x, w)));
      minus_sine_[k * w + x] = -sine_[k * w + x];
    }
  }
}

void FourierProducts::along_rows(std::size_t count, const float* sine, const float* minus_sine,
                                 float* out) {
  const std::size_t rows = grid_.height * count, w = grid_.width;
  const float* real = half_.data();
  const float* imaginary = real + rows * w;
  math::gemm(rows, w, w, real, cosine_.data(), 0, out);
  math::gemm(rows, w, w, imaginary, minus_sine, 1, out);
  math::gemm(rows, w, w, imaginary, cosine_.data(), 0, out + rows * w);
  math::gemm(rows, w, w, real, sine, 1, out + rows * w);
}

void FourierProducts::forward(std::span<const float> values, std::size_t count,
                              std::span<float> spectrum) {
  const std::size_t h = grid_.height, size = count * grid_.size();
  check(values.size() == size && spectrum.size() == 2 * size && 2 * size <= half_.size(),
        "arrays of a Fourier transform");
  math::gemm(2 * h, count * grid_.width, h, from_values_.data(), values.data(), 0, half_.data());
  along_rows(count, minus_sine_.data(), sine_.data(), spectrum.data());
}

void FourierProducts::inverse(std::span<const float> spectrum, std::size_t count,
                              std::span<float> values) {
  const std::size_t h = grid_.height, size = count * grid_.size();
  check(values.size() == 2 * size && spectrum.size() == 2 * size && 2 * size <= half_.size(),
        "arrays of a Fourier transform");
  math::gemm(2 * h, count * grid_.width, 2 * h, from_spectrum_.data(), spectrum.data(), 0,
             half_.data());
  along_rows(count, sine_.data(), minus_sine_.data(), values.data());
}

}  // namespace sheaf::worker
