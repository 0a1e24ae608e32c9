// A second implementation of how steps share noise, by dense matrices from their definitions. What
// was released is a list of steps, each with the release that led there.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace sheaf::privacy {

// Lower triangular matrices, as rows.
using Matrix = std::vector<std::vector<double>>;

// Of sqrt(1 - x): -binomial(2 k, k) / (4^k (2 k - 1)).
inline double root_coefficient(std::size_t k) {
  const auto n = static_cast<double>(k);
  const double chosen = std::exp(std::lgamma(2 * n + 1) - 2 * std::lgamma(n + 1));
  return -chosen / std::pow(4, n) / (2 * n - 1);
}

struct DenseRelease {
  std::uint64_t step = 0;
  std::optional<std::size_t> before;  // the release of the step before, by its place in the list
};

// Steps [first, end) of each attempt, which goes on from the one before.
struct Attempt {
  std::uint64_t first = 0, end = 0;
};
inline std::vector<DenseRelease> releases_of(const std::vector<Attempt>& attempts) {
  std::vector<DenseRelease> all;
  std::vector<std::size_t> way;  // of the newest attempt, by step
  for (const Attempt& attempt : attempts) {
    way.resize(attempt.first);
    for (std::uint64_t step = attempt.first; step < attempt.end; ++step) {
      all.push_back({step, way.empty() ? std::nullopt : std::optional(way.back())});
      way.push_back(all.size() - 1);
    }
  }
  return all;
}

// D: which white noises, one of each release, are in the noise of a release.
inline Matrix noise_matrix(const std::vector<DenseRelease>& releases, std::size_t bands) {
  Matrix d(releases.size(), std::vector<double>(releases.size()));
  for (std::size_t r = 0; r < releases.size(); ++r) {
    std::optional<std::size_t> at = r;
    for (std::size_t k = 0; k < bands && at; ++k, at = releases[*at].before) {
      d[r][*at] = root_coefficient(k);
    }
  }
  return d;
}

// The inverse of a lower triangular matrix, column by column, by forward substitution.
inline Matrix inverse_of(const Matrix& c) {
  const std::size_t n = c.size();
  Matrix result(n, std::vector<double>(n));
  for (std::size_t column = 0; column < n; ++column) {
    for (std::size_t t = column; t < n; ++t) {
      double value = t == column ? 1 : 0;
      for (std::size_t k = column; k < t; ++k) value -= c[t][k] * result[k][column];
      result[t][column] = value / c[t][t];
    }
  }
  return result;
}

}  // namespace sheaf::privacy
