// The only door to BLAS. Row-major single precision. The library runs single-threaded unless told.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

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

// ---- for `sheaf bench step` ---------------------------------------------------------------------

// Seconds this thread has spent inside GEMM since it started.
double blas_seconds();

// One GEMM as it was called: c (m x n) = a * b + beta * c, each operand stored transposed or not.
struct Product {
  std::size_t m, n, k;
  bool a_transposed, b_transposed;
  const float *a, *b;
  float beta;
  float* c;
  double flops() const { return 2.0 * static_cast<double>(m) * static_cast<double>(n * k); }
};

// While it lives, the GEMMs that this thread calls are appended to `products`. One at a time.
class ProductRecorder {
 public:
  explicit ProductRecorder(std::vector<Product>& products);
  ~ProductRecorder();
  ProductRecorder(const ProductRecorder&) = delete;
  ProductRecorder& operator=(const ProductRecorder&) = delete;
};

// Calls BLAS again as it was called then, on the same memory, and does nothing else.
void repeat(const Product& product);

}  // namespace sheaf::math
