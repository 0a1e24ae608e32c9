// The only door to BLAS. Row-major single precision. The library runs single-threaded unless told.
#pragma once

#include <cstddef>
#include <string>

namespace sheaf::math {

// How many threads one GEMM may use; affects bits. Call once, before the first GEMM.
void set_blas_threads(int threads);

// Name, version and chosen core of the library, for `--version` and the numerics identity.
std::string blas_identity();

// c (m x n) = a (m x k) * b (k x n) + beta * c
void gemm(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b, float beta,
          float* c);
// c (m x n) = a' * b + beta * c, with a stored (k x m) and b (k x n)
void gemm_at(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b,
             float beta, float* c);
// c (m x n) = a * b' + beta * c, with a stored (m x k) and b (n x k)
void gemm_bt(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b,
             float beta, float* c);

// Seconds this thread has spent inside GEMM since it started (for `sheaf bench step`).
double blas_seconds();

}  // namespace sheaf::math
