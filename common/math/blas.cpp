#include "common/math/blas.h"

#include <cblas.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string_view>

#include "common/base/error.h"

namespace sheaf::math {
namespace {

thread_local double gemm_seconds = 0;
thread_local std::vector<Product>* recorded = nullptr;

// OpenBLAS starts with a thread per core; ours is one rank of several on the machine.
void start_single_threaded() {
  static const bool started = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(started);
}

// A dimension, or a leading dimension (which BLAS wants to be at least 1).
blasint dimension(std::size_t size) {
  check(size <= static_cast<std::size_t>(std::numeric_limits<blasint>::max()),
        "a matrix dimension fits BLAS' integer");
  return static_cast<blasint>(size);
}
blasint leading(std::size_t columns) { return std::max<blasint>(1, dimension(columns)); }

CBLAS_TRANSPOSE order(bool transposed) { return transposed ? CblasTrans : CblasNoTrans; }

void timed(const Product& p) {
  start_single_threaded();
  if (recorded != nullptr) recorded->push_back(p);
  const auto begin = std::chrono::steady_clock::now();
  repeat(p);
  gemm_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

void set_blas_threads(int threads) {
  start_single_threaded();
  openblas_set_num_threads(threads);
}

std::string blas_identity() {
  // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH …": what follows the version is about the build.
  const std::string_view config = openblas_get_config();
  const std::size_t version = config.find(' ');
  const std::size_t end = version == config.npos ? config.npos : config.find(' ', version + 1);
  return fmt::format("{}, core {}", config.substr(0, end), openblas_get_corename());
}

void gemm(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b, float beta,
          float* c) {
  timed({m, n, k, false, false, a, b, beta, c});
}

void gemm_at(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b,
             float beta, float* c) {
  timed({m, n, k, true, false, a, b, beta, c});
}

void gemm_bt(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b,
             float beta, float* c) {
  timed({m, n, k, false, true, a, b, beta, c});
}

void repeat(const Product& p) {
  cblas_sgemm(CblasRowMajor, order(p.a_transposed), order(p.b_transposed), dimension(p.m),
              dimension(p.n), dimension(p.k), 1.0F, p.a, leading(p.a_transposed ? p.m : p.k), p.b,
              leading(p.b_transposed ? p.k : p.n), p.beta, p.c, leading(p.n));
}

ProductRecorder::ProductRecorder(std::vector<Product>& products) {
  check(recorded == nullptr, "one recorder at a time");
  recorded = &products;
}

ProductRecorder::~ProductRecorder() { recorded = nullptr; }

double blas_seconds() { return gemm_seconds; }

}  // namespace sheaf::math
