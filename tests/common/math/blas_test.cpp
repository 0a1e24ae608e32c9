// The reference is the textbook triple loop in fp64.
#include "common/math/blas.h"

#include <gmock/gmock.h>

#include <cmath>
#include <ostream>
#include <vector>

#include "common/base/random.h"

namespace sheaf::math {
namespace {

struct Shape {
  std::size_t m, n, k;
};
void PrintTo(const Shape& s, std::ostream* out) { *out << s.m << " x " << s.n << " x " << s.k; }

constexpr Shape kShapes[] = {{1, 1, 1}, {1, 7, 3}, {5, 1, 4}, {17, 10, 33}, {64, 65, 31}};

std::vector<float> random_matrix(std::size_t size, std::uint64_t name) {
  Stream stream(1, Purpose::test, name);
  std::vector<float> values(size);
  for (float& value : values) value = 2 * stream.uniform() - 1;
  return values;
}

std::vector<float> transposed(const std::vector<float>& x, std::size_t rows, std::size_t columns) {
  std::vector<float> y(x.size());
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) y[c * rows + r] = x[r * columns + c];
  }
  return y;
}

// a (m x k) * b (k x n) + beta * c
std::vector<float> product(const Shape& s, const std::vector<float>& a, const std::vector<float>& b,
                           float beta, std::vector<float> c) {
  for (std::size_t i = 0; i < s.m; ++i) {
    for (std::size_t j = 0; j < s.n; ++j) {
      double sum = static_cast<double>(beta) * c[i * s.n + j];
      for (std::size_t p = 0; p < s.k; ++p) {
        sum += static_cast<double>(a[i * s.k + p]) * b[p * s.n + j];
      }
      c[i * s.n + j] = static_cast<float>(sum);
    }
  }
  return c;
}

class Gemm : public testing::TestWithParam<Shape> {
 protected:
  // |values| <= 1: k products and the old c, each term and each partial sum rounded once.
  void expect_product(float beta, const std::vector<float>& found) const {
    const Shape s = GetParam();
    const std::vector<float> expected = product(s, a_, b_, beta, c_);
    const double bound = static_cast<double>(s.k + 2) * 0x1p-23 * static_cast<double>(s.k + 1);
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], bound);
  }

  std::vector<float> a_ = random_matrix(GetParam().m * GetParam().k, 1);
  std::vector<float> b_ = random_matrix(GetParam().k * GetParam().n, 2);
  std::vector<float> c_ = random_matrix(GetParam().m * GetParam().n, 3);
};

TEST_P(Gemm, MultipliesAsStored) {
  const auto [m, n, k] = GetParam();
  for (const float beta : {0.0F, 1.0F, 0.5F}) {
    std::vector<float> c = c_;
    gemm(m, n, k, a_.data(), b_.data(), beta, c.data());
    expect_product(beta, c);
  }
}

TEST_P(Gemm, MultipliesWithTheFirstTransposed) {
  const auto [m, n, k] = GetParam();
  const std::vector<float> stored = transposed(a_, m, k);
  std::vector<float> c = c_;
  gemm_at(m, n, k, stored.data(), b_.data(), 1, c.data());
  expect_product(1, c);
}

TEST_P(Gemm, MultipliesWithTheSecondTransposed) {
  const auto [m, n, k] = GetParam();
  const std::vector<float> stored = transposed(b_, k, n);
  std::vector<float> c = c_;
  gemm_bt(m, n, k, a_.data(), stored.data(), 1, c.data());
  expect_product(1, c);
}

// A gradient buffer starts with whatever the last step left there.
TEST_P(Gemm, DoesNotReadTheOldResultWhenBetaIsZero) {
  const auto [m, n, k] = GetParam();
  std::vector<float> c(m * n, std::nanf(""));
  gemm(m, n, k, a_.data(), b_.data(), 0, c.data());
  expect_product(0, c);
}

INSTANTIATE_TEST_SUITE_P(Shapes, Gemm, testing::ValuesIn(kShapes));

TEST(Blas, SaysWhichLibraryAndCoreItIs) {
  EXPECT_THAT(blas_identity(), testing::MatchesRegex("OpenBLAS [0-9.]+, core .+"));
}

TEST(Blas, CountsTheSecondsOfThisThread) {
  const std::vector<float> a = random_matrix(128 * 128, 1);
  std::vector<float> c(128 * 128);
  const double before = blas_seconds();
  gemm(128, 128, 128, a.data(), a.data(), 0, c.data());
  EXPECT_GT(blas_seconds(), before);
}

TEST(ProductRecorderTest, NotesTheCallsOfItsLifetimeAndTheyCanBeRepeated) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6}, b = {1, 0, 2, 1, 1, 3};
  std::vector<float> c(4), unseen(4);
  std::vector<Product> products;
  {
    const ProductRecorder recorder(products);
    gemm(2, 2, 3, a.data(), b.data(), 0, c.data());
    gemm_at(2, 2, 3, a.data(), b.data(), 0, c.data());
    gemm_bt(2, 2, 3, a.data(), b.data(), 0, c.data());
  }
  const std::vector<float> last = c;
  gemm(2, 2, 3, a.data(), b.data(), 0, unseen.data());
  ASSERT_EQ(products.size(), 3U);
  EXPECT_FALSE(products[0].a_transposed || products[0].b_transposed);
  EXPECT_TRUE(products[1].a_transposed && !products[1].b_transposed);
  EXPECT_TRUE(!products[2].a_transposed && products[2].b_transposed);
  for (const Product& product : products) EXPECT_EQ(product.flops(), 2 * 2 * 2 * 3);
  repeat(products[0]);
  EXPECT_EQ(c, unseen);
  repeat(products[2]);
  EXPECT_EQ(c, last);
}

}  // namespace
}  // namespace sheaf::math
