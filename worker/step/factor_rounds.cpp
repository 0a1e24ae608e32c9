#include "worker/step/factor_rounds.h"

#include <algorithm>

#include "common/base/random.h"

namespace sheaf::worker {

using compression::FactoredChunk;
using compression::Matrix;

FactorRounds::FactorRounds(const compression::Factors& factors, std::uint64_t seed)
    : factors_(factors),
      seed_(seed),
      right_(factors.right_floats),
      left_(factors.left_floats),
      own_left_(factors.left_floats),
      own_right_(factors.right_floats) {}

void FactorRounds::begin(Step step, std::span<const float> right) {
  std::ranges::copy(right, right_.span().begin());
  for (const FactoredChunk& c : factors_.chunks) {
    Stream stream(seed_, Purpose::selection, step, 0, c.chunk);
    std::size_t at = c.right;
    for (const Matrix& m : c.matrices) {
      const auto factor = right_.span().subspan(at, factors_.rank * m.columns);
      compression::draw_missing(factor, factors_.rank, stream);
      compression::orthonormalise(factor, factors_.rank);
      at += factor.size();
    }
  }
}

std::span<const float> FactorRounds::left(const params::ChunkMap& chunks,
                                          std::span<const float> values) {
  for (const FactoredChunk& c : factors_.chunks) {
    std::size_t left = c.left, right = c.right;
    for (const Matrix& m : c.matrices) {
      const auto ours = own_left_.span().subspan(left, factors_.rank * m.rows());
      const auto shared = right_.span().subspan(right, factors_.rank * m.columns);
      compression::times_right(m, values.subspan(chunks[c.chunk].offset + m.begin, m.size), shared,
                               ours);
      left += ours.size();
      right += shared.size();
    }
  }
  return own_left_.span();
}

void FactorRounds::average(std::span<const float> left) {
  std::ranges::copy(left, left_.span().begin());
  for (const FactoredChunk& c : factors_.chunks) {
    std::size_t at = c.left;
    for (const Matrix& m : c.matrices) {
      const auto factor = left_.span().subspan(at, factors_.rank * m.rows());
      compression::orthonormalise(factor, factors_.rank);
      at += factor.size();
    }
  }
}

std::size_t FactorRounds::encode(const FactoredChunk& c, std::span<const float> values,
                                 std::span<std::byte> bytes) {
  compression::encode_factors(c.matrices, values, factors_.rank, left_.span().subspan(c.left),
                              own_right_.span().subspan(c.right), bytes);
  return compression::factors_bytes(c.matrices, factors_.rank, values.size());
}

}  // namespace sheaf::worker
