#include "common/compression/low_rank.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <vector>

#include "common/base/error.h"
#include "common/compression/refusals.h"
#include "common/math/kernels.h"

namespace sheaf::compression {
namespace {

constexpr std::size_t kLanes = 16;
constexpr std::size_t kWord = sizeof(std::uint32_t);
constexpr std::size_t kMatrixBytes = 4 * kWord;  // begin, size, columns, first

float product(std::span<const float> a, const float* b) {
  std::array<float, kLanes> lanes{};
  std::size_t i = 0;
  for (; i + kLanes <= a.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  for (std::size_t lane = 0; i + lane < a.size(); ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

// Calls body(row, column, at, count) for what there is of each row: `count` values from `column`
// on, which begin at value `at`.
template <typename Body>
void each_row(const Matrix& m, Body body) {
  std::size_t at = 0, column = m.first;
  for (std::size_t row = 0; at < m.size; ++row) {
    const std::size_t count = std::min(m.columns - column, m.size - at);
    body(row, column, at, count);
    at += count;
    column = 0;
  }
}

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// The largest magnitude in each vector of two factors of one product, multiplied and summed: no
// value of the product is larger.
double largest_value(std::span<const float> left, std::span<const float> right, std::size_t rank) {
  const auto largest = [&](std::span<const float> factor, std::size_t k) {
    const std::size_t run = factor.size() / rank;
    float most = 0;
    for (const float value : factor.subspan(k * run, run)) most = std::max(most, std::abs(value));
    return static_cast<double>(most);
  };
  double sum = 0;
  for (std::size_t k = 0; k < rank; ++k) sum += largest(left, k) * largest(right, k);
  return sum;
}

// Takes floats and words out of bytes that may lie anywhere.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::size_t left() const { return bytes_.size(); }
  std::uint32_t word() {
    std::uint32_t value = 0;
    take(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  std::vector<float> floats(std::size_t count) {
    std::vector<float> values(count);
    take(std::as_writable_bytes(std::span(values)));
    return values;
  }

 private:
  void take(std::span<std::byte> into) {
    std::ranges::copy(bytes_.first(into.size()), into.begin());
    bytes_ = bytes_.subspan(into.size());
  }
  std::span<const std::byte> bytes_;
};

// The matrices that the bytes begin with, if their length is that of such matrices.
std::vector<Matrix> read_matrices(Reader& reader, std::size_t rank, std::size_t values) {
  const std::size_t bytes = reader.left();
  const std::uint32_t count = bytes >= kWord ? reader.word() : 0;
  if (count == 0 || count > values || count > reader.left() / kMatrixBytes) {
    fail(Fault::network, "compressor powersgd: found {} bytes and {} matrices in a chunk of {}",
         bytes, count, values);
  }
  std::vector<Matrix> matrices(count);
  std::size_t end = 0;
  for (Matrix& matrix : matrices) {
    matrix.begin = reader.word();
    matrix.size = reader.word();
    matrix.columns = reader.word();
    matrix.first = reader.word();
    if (matrix.begin < end || matrix.size == 0 || matrix.end() > values) {
      fail(Fault::network, "compressor powersgd: found a matrix of the values {}..{} of {}",
           matrix.begin, matrix.end(), values);
    }
    if (matrix.first >= matrix.columns) {
      fail(Fault::network, "compressor powersgd: found column {} of {} for the first value",
           matrix.first, matrix.columns);
    }
    end = matrix.end();
  }
  expect_bytes("powersgd", bytes, factors_bytes(matrices, rank, values), values);
  return matrices;
}

void add_product(const Matrix& matrix, std::size_t rank, std::span<const float> left,
                 std::span<const float> right, std::span<float> sum) {
  const std::size_t rows = matrix.rows();
  each_row(matrix, [&](std::size_t row, std::size_t column, std::size_t at, std::size_t count) {
    constexpr std::size_t kBlock = 64;
    std::array<float, kBlock> block;
    for (std::size_t begin = 0; begin < count; begin += kBlock) {
      const std::size_t n = std::min(kBlock, count - begin);
      block.fill(0);
      for (std::size_t k = 0; k < rank; ++k) {
        const float factor = left[k * rows + row];
        const float* const x = &right[k * matrix.columns + column + begin];
        for (std::size_t i = 0; i < n; ++i) block[i] += factor * x[i];
      }
      for (std::size_t i = 0; i < n; ++i) sum[at + begin + i] += block[i];
    }
  });
}

// Calls body(begin, end) for what lies between the matrices.
template <typename Body>
void each_rest(std::span<const Matrix> matrices, std::size_t values, Body body) {
  std::size_t begin = 0;
  for (const Matrix& matrix : matrices) {
    body(begin, matrix.begin);
    begin = matrix.end();
  }
  body(begin, values);
}

}  // namespace

Matrix square_matrix(std::size_t size) {
  std::size_t columns = 1;
  while (columns * columns < size) ++columns;
  return {size, columns, 0};
}

void times_right(const Matrix& matrix, std::span<const float> values, std::span<const float> right,
                 std::span<float> left) {
  const std::size_t rows = matrix.rows();
  each_row(matrix, [&](std::size_t row, std::size_t column, std::size_t at, std::size_t count) {
    for (std::size_t k = 0; k * matrix.columns < right.size(); ++k) {
      left[k * rows + row] =
          product(values.subspan(at, count), &right[k * matrix.columns + column]);
    }
  });
}

void times_left(const Matrix& matrix, std::span<const float> values, std::span<const float> left,
                std::span<float> right) {
  const std::size_t rows = matrix.rows();
  std::ranges::fill(right, 0.0F);
  each_row(matrix, [&](std::size_t row, std::size_t column, std::size_t at, std::size_t count) {
    for (std::size_t k = 0; k * matrix.columns < right.size(); ++k) {
      const float factor = left[k * rows + row];
      const float* const x = &values[at];
      float* const y = &right[k * matrix.columns + column];
      for (std::size_t i = 0; i < count; ++i) y[i] += factor * x[i];
    }
  });
}

void orthonormalise(std::span<float> factor, std::size_t rank) {
  const std::size_t run = factor.size() / rank;
  std::vector<double> wide(factor.begin(), factor.end());
  const auto vector = [&](std::size_t k) { return std::span(wide).subspan(k * run, run); };
  for (std::size_t k = 0; k < rank; ++k) {
    const std::span<double> ours = vector(k);
    const double before = std::sqrt(dot(ours, ours));
    for (int twice = 0; twice < 2; ++twice) {
      for (std::size_t l = 0; l < k; ++l) {
        const double along = dot(vector(l), ours);
        for (std::size_t i = 0; i < run; ++i) ours[i] -= along * vector(l)[i];
      }
    }
    // Products of floats are known to 2^-24: what is left of less is rounding.
    const double left = std::sqrt(dot(ours, ours));
    const bool some = left > before * 0x1p-20;
    for (double& value : ours) value = some ? value / left : 0;
  }
  for (std::size_t i = 0; i < factor.size(); ++i) factor[i] = static_cast<float>(wide[i]);
}

void draw_missing(std::span<float> factor, std::size_t rank, Stream& stream) {
  const std::size_t run = factor.size() / rank;
  for (std::size_t k = 0; k < rank; ++k) {
    const std::span<float> vector = factor.subspan(k * run, run);
    if (std::ranges::any_of(vector, [](float value) { return value != 0; })) continue;
    for (float& value : vector) value = static_cast<float>(stream.normal());
  }
}

std::size_t factors_bytes(std::span<const Matrix> matrices, std::size_t rank, std::size_t values) {
  std::size_t bytes = kWord + matrices.size() * kMatrixBytes + values * sizeof(float);
  for (const Matrix& m : matrices) {
    bytes += m.factor_floats(rank) * sizeof(float);
    bytes -= m.size * sizeof(float);
  }
  return bytes;
}

void encode_factors(std::span<const Matrix> matrices, std::span<const float> values,
                    std::size_t rank, std::span<const float> left, std::span<float> right,
                    std::span<std::byte> bytes) {
  auto to = bytes.begin();
  const auto put = [&](std::span<const std::byte> more) { to = std::ranges::copy(more, to).out; };
  const auto put_words = [&](std::initializer_list<std::size_t> words) {
    for (const std::size_t word : words) {
      const auto narrow = static_cast<std::uint32_t>(word);
      put(std::as_bytes(std::span(&narrow, 1)));
    }
  };
  put_words({matrices.size()});
  for (const Matrix& m : matrices) put_words({m.begin, m.size, m.columns, m.first});
  const float most = std::numeric_limits<float>::max() / static_cast<float>(4 * rank);
  for (const Matrix& m : matrices) {
    const auto ours = left.first(rank * m.rows());
    const auto product = right.first(rank * m.columns);
    times_left(m, values.subspan(m.begin, m.size), ours, product);
    for (float& value : product) value = std::clamp(value, -most, most);
    put(std::as_bytes(ours));
    put(std::as_bytes(product));
    left = left.subspan(ours.size());
    right = right.subspan(product.size());
  }
  each_rest(matrices, values.size(), [&](std::size_t begin, std::size_t end) {
    put(std::as_bytes(values.subspan(begin, end - begin)));
  });
}

void decode_add_factors(std::span<const std::byte> bytes, std::size_t rank, std::span<float> sum) {
  Reader reader(bytes);
  const auto matrices = read_matrices(reader, rank, sum.size());
  // All of it, before the first value is added: it may lie in memory of another process.
  const std::vector<float> floats = reader.floats(reader.left() / sizeof(float));
  if (!math::all_finite(floats)) {
    fail(Fault::network, "compressor powersgd: found a value that is not finite");
  }
  const std::span<const float> all(floats);
  std::size_t at = 0;
  for (const Matrix& m : matrices) {
    const std::size_t left = rank * m.rows(), right = rank * m.columns;
    if (largest_value(all.subspan(at, left), all.subspan(at + left, right), rank) >
        std::numeric_limits<float>::max() / 2) {
      fail(Fault::network, "compressor powersgd: found factors whose product may not be finite");
    }
    at += left + right;
  }
  at = 0;
  for (const Matrix& m : matrices) {
    const std::size_t left = rank * m.rows(), right = rank * m.columns;
    add_product(m, rank, all.subspan(at, left), all.subspan(at + left, right),
                sum.subspan(m.begin, m.size));
    at += left + right;
  }
  each_rest(matrices, sum.size(), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) sum[i] += all[at++];
  });
}

}  // namespace sheaf::compression
