// Factors against what is known of them: orthonormal vectors, matrices whose rank or singular
// values are known, the sides of a right triangle; and the bytes of FORMAT.md, worked out by hand.
#include "common/compression/low_rank.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

#include "common/base/error.h"
#include "tests/common/compression/modes.h"

namespace sheaf::compression {
namespace {

using testing::HasSubstr;

double squares(std::span<const float> x) {
  double sum = 0;
  for (const float value : x) sum += double{value} * double{value};
  return sum;
}

std::vector<float> minus(std::span<const float> a, std::span<const float> b) {
  std::vector<float> c(a.begin(), a.end());
  for (std::size_t i = 0; i < c.size(); ++i) c[i] -= b[i];
  return c;
}

// The steps of one matrix by itself, each from the right factor of the one before.
class Power {
 public:
  Power(const Matrix& matrix, std::size_t rank)
      : matrix_(matrix), rank_(rank), left_(rank * matrix.rows()), right_(rank * matrix.columns) {}

  // What is sent of x.
  std::vector<float> step(std::span<const float> x) {
    Stream stream(3, Purpose::test, step_++);
    draw_missing(right_, rank_, stream);
    orthonormalise(right_, rank_);
    times_right(matrix_, x, right_, left_);
    orthonormalise(left_, rank_);
    const std::span<const Matrix> one(&matrix_, 1);
    bytes_.assign(factors_bytes(one, rank_, x.size()), std::byte{0});
    encode_factors(one, x, rank_, left_, right_, bytes_);
    std::vector<float> sent(x.size());
    decode_add_factors(bytes_, rank_, sent);
    return sent;
  }
  std::span<const float> left() const { return left_; }

 private:
  Matrix matrix_;
  std::size_t rank_;
  std::vector<float> left_, right_;
  std::vector<std::byte> bytes_;
  std::uint64_t step_ = 0;
};

// The values [begin, end) of a matrix of that rank, random factors times each other.
std::vector<float> of_rank(std::size_t rank, std::size_t rows, std::size_t columns,
                           std::size_t begin, std::size_t end) {
  const auto a = normal_vector(rank * rows, 1), b = normal_vector(rank * columns, 2);
  std::vector<float> x(end - begin);
  for (std::size_t i = begin; i < end; ++i) {
    double value = 0;
    for (std::size_t k = 0; k < rank; ++k) {
      value += double{a[k * rows + i / columns]} * double{b[k * columns + i % columns]};
    }
    x[i - begin] = static_cast<float>(value);
  }
  return x;
}

TEST(Orthonormalise, GivesVectorsOfLengthOneAtRightAngles) {
  constexpr std::size_t kRank = 5, kRun = 40;
  auto factor = normal_vector(kRank * kRun, 1);
  for (std::size_t i = 0; i < kRun; ++i)
    factor[2 * kRun + i] = factor[i] + 1e-3F * factor[i + kRun];
  for (std::size_t i = 0; i < kRun; ++i) factor[3 * kRun + i] *= 1e-20F;
  const auto before = factor;
  orthonormalise(factor, kRank);
  for (std::size_t k = 0; k < kRank; ++k) {
    if (k == 2) continue;  // a sum of those before it
    for (std::size_t l = 0; l <= k; ++l) {
      if (l == 2) continue;
      double product = 0;
      for (std::size_t i = 0; i < kRun; ++i) {
        product += double{factor[k * kRun + i]} * double{factor[l * kRun + i]};
      }
      EXPECT_NEAR(product, k == l ? 1 : 0, 1e-6) << k << " and " << l;
    }
  }
  EXPECT_EQ(squares(std::span(factor).subspan(2 * kRun, kRun)), 0);
  // The first one keeps its direction.
  const double length = std::sqrt(squares(std::span(before).first(kRun)));
  for (std::size_t i = 0; i < kRun; ++i) EXPECT_NEAR(factor[i] * length, before[i], 1e-6);
}

TEST(Orthonormalise, WhatAddsNothingBecomesZero) {
  std::vector<float> factor = {3, 4, 0, 6, 8, 0, 0, 0, 0};  // twice the first, then nothing
  orthonormalise(factor, 3);
  EXPECT_THAT(factor, testing::ElementsAre(0.6F, 0.8F, 0, 0, 0, 0, 0, 0, 0));
  Stream stream(1, Purpose::test);
  draw_missing(factor, 3, stream);
  EXPECT_EQ(factor[0], 0.6F);
  EXPECT_GT(squares(std::span(factor).subspan(3, 3)), 0);
  EXPECT_GT(squares(std::span(factor).subspan(6, 3)), 0);
}

TEST(LowRank, AMatrixOfThatRankIsSentWhole) {
  for (const std::size_t rank : {1U, 2U, 4U}) {
    const auto x = of_rank(rank, 30, 50, 0, 1500);
    Power power({x.size(), 50, 0}, rank);
    EXPECT_LT(squares(minus(x, power.step(x))), 1e-10 * squares(x)) << rank;
  }
}

// A chunk begins and ends within rows of its tensor, and has its rank.
TEST(LowRank, AChunkOfATensorOfThatRankIsSentWhole) {
  const auto x = of_rank(2, 30, 50, 131, 1377);
  const Matrix matrix{x.size(), 50, 131 % 50};
  EXPECT_EQ(matrix.rows(), 26U);  // of the rows 2 to 27
  Power power(matrix, 4);         // what the first and the last row lack adds two to the rank
  EXPECT_LT(squares(minus(x, power.step(x))), 1e-10 * squares(x));
}

// The singular values of a diagonal matrix are there to be read: 2^-i. The best matrix of rank 3
// leaves out those from 2^-3 on, whose squares sum to 4/3 2^-6, and the power method comes to it:
// the part of what is beside it falls by (2^-3 / 2^-2)^2 with each step.
TEST(LowRank, StepsComeToTheBestMatrixOfTheirRank) {
  constexpr std::size_t kSize = 12;
  std::vector<float> x(kSize * kSize);
  double best = 0;
  for (std::size_t i = 0; i < kSize; ++i) {
    x[i * kSize + i] = std::ldexp(1.0F, -static_cast<int>(i));
    if (i >= 3) best += std::pow(4.0, -static_cast<double>(i));
  }
  Power power({x.size(), kSize, 0}, 3);
  double before = squares(x);
  for (int step = 0; step < 12; ++step) {
    const double error = squares(minus(x, power.step(x)));
    EXPECT_LE(error, before * (1 + 1e-6)) << step;
    EXPECT_GE(error, best * (1 - 1e-5)) << step;
    before = error;
  }
  EXPECT_NEAR(before, best, 1e-4 * best);
}

// P P' M is a projection of M: of whole rows what is sent, what is left out and M are the sides of
// a right triangle. Where rows lack values, what the product has in their place is dropped, from
// both. Nothing that is left out is longer than what there was.
TEST(LowRank, WhatIsSentAndWhatIsLeftOutAreAtARightAngle) {
  for (const std::size_t first : {0U, 1U, 4U, 24U}) {
    const auto x = normal_vector(700, 1 + first);
    Power power({x.size(), 25, first}, 3);
    for (int step = 0; step < 3; ++step) {
      const auto sent = power.step(x);
      const double left_out = squares(minus(x, sent));
      EXPECT_LE(left_out, squares(x));
      EXPECT_LE(squares(sent) + left_out, squares(x) * (1 + 1e-5));
      if (first == 0) {
        EXPECT_NEAR(squares(sent) + left_out, squares(x), 1e-5 * squares(x));
      }
    }
  }
}

// | 0 3 |   first = 1: the matrix of three values whose tensor has two columns, in a chunk of five:
// | 4 0 |   7, 3, 4, 0, 9. With P = (0, 1)' and the zero vector, M' P = (4, 0)'.
const std::vector<float> kValues = {7, 3, 4, 0, 9};
const std::vector<Matrix> kMatrices = {{3, 2, 1, 1}};

TEST(LowRank, TheBytesAreThoseOfTheFormat) {
  const std::vector<float> left = {0, 1, 0, 0};
  std::vector<float> right(4);
  std::vector<std::byte> bytes(factors_bytes(kMatrices, 2, kValues.size()));
  encode_factors(kMatrices, kValues, 2, left, right, bytes);
  EXPECT_THAT(right, testing::ElementsAre(4, 0, 0, 0));
  ASSERT_EQ(bytes.size(), 4U + 16 + 8 * 4 + 2 * 4);
  std::uint32_t head[5];
  float floats[10];
  std::memcpy(head, bytes.data(), sizeof head);
  std::memcpy(floats, &bytes[sizeof head], sizeof floats);
  EXPECT_THAT(head, testing::ElementsAre(1, 1, 3, 2, 1));  // one: begin, size, columns, first
  EXPECT_THAT(floats, testing::ElementsAre(0, 1, 0, 0, 4, 0, 0, 0, 7, 9));
  std::vector<float> sum(5, 1.0F);
  decode_add_factors(bytes, 2, sum);
  EXPECT_THAT(sum, testing::ElementsAre(8, 1, 5, 1, 10));
}

TEST(LowRank, FactorsThatAreNoneAreRefused) {
  std::vector<float> right(2);
  std::vector<std::byte> good(factors_bytes(kMatrices, 1, kValues.size()));
  encode_factors(kMatrices, kValues, 1, std::vector<float>{0, 1}, right, good);
  ASSERT_EQ(good.size(), 44U);
  const auto refusal = [&](std::size_t at, auto value) -> std::string {
    auto bytes = good;
    std::memcpy(&bytes[at], &value, sizeof value);
    std::vector<float> sum(5, 1.0F);
    try {
      decode_add_factors(bytes, 1, sum);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::network);
      EXPECT_THAT(sum, testing::Each(1.0F));
      return error.message();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal(0, std::uint32_t{0}), HasSubstr("44 bytes and 0 matrices in a chunk of 5"));
  EXPECT_THAT(refusal(0, std::uint32_t{5}), HasSubstr("44 bytes and 5 matrices"));
  EXPECT_THAT(refusal(4, std::uint32_t{3}), HasSubstr("a matrix of the values 3..6 of 5"));
  EXPECT_THAT(refusal(8, std::uint32_t{0}), HasSubstr("a matrix of the values 1..1 of 5"));
  // Four values from column 1 on are three rows: a float more in a factor, and one less outside.
  EXPECT_EQ(refusal(8, std::uint32_t{4}), "accepted");
  EXPECT_THAT(refusal(12, std::uint32_t{0}), HasSubstr("column 1 of 0"));
  EXPECT_THAT(refusal(12, std::uint32_t{3}), HasSubstr("found 44 bytes, expected 48 for 5 values"));
  EXPECT_THAT(refusal(16, std::uint32_t{2}), HasSubstr("column 2 of 2"));
  EXPECT_THAT(refusal(20, std::nanf("")), HasSubstr("not finite"));
  EXPECT_THAT(refusal(40, INFINITY), HasSubstr("not finite"));
  EXPECT_THAT(refusal(20, 1e38F), HasSubstr("product may not be finite"));  // times 4
  EXPECT_EQ(refusal(20, 1e30F), "accepted");
}

}  // namespace
}  // namespace sheaf::compression
