// The discrete Fourier transform of a power of two of complex values, in place (Cooley and Tukey
// 1965, radix 2): X_k = sum over j of x_j e^(-2 pi i j k / n). Plain maths, thread-safe.
#pragma once

#include <complex>
#include <span>

namespace sheaf::privacy {

// REQUIRES: the size is a power of two.
void fourier(std::span<std::complex<double>> values);

}  // namespace sheaf::privacy
