#include "common/privacy/accounting/fourier.h"

#include <bit>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "common/base/error.h"

namespace sheaf::privacy {

void fourier(std::span<std::complex<double>> values) {
  const std::size_t n = values.size();
  check(std::has_single_bit(n), "a Fourier transform takes a power of two of values");
  for (std::size_t i = 1, j = 0; i < n; ++i) {  // j is i with its bits in reverse
    std::size_t bit = n >> 1;
    for (; (j & bit) != 0; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(values[i], values[j]);
  }
  std::vector<std::complex<double>> roots(n / 2);
  for (std::size_t k = 0; k < n / 2; ++k) {
    const double angle = -2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n);
    roots[k] = {std::cos(angle), std::sin(angle)};
  }
  for (std::size_t half = 1; half < n; half *= 2) {
    const std::size_t stride = n / (2 * half);
    for (std::size_t start = 0; start < n; start += 2 * half) {
      for (std::size_t k = 0; k < half; ++k) {
        const std::complex<double> root = roots[k * stride];
        std::complex<double>& low = values[start + k];
        std::complex<double>& high = values[start + half + k];
        // By hand: operator* of complex numbers looks for infinities.
        const std::complex<double> turned(high.real() * root.real() - high.imag() * root.imag(),
                                          high.real() * root.imag() + high.imag() * root.real());
        high = low - turned;
        low += turned;
      }
    }
  }
}

}  // namespace sheaf::privacy
