#include "common/privacy/correlated/prefix_factor.h"

#include <algorithm>

#include "common/base/error.h"

namespace sheaf::privacy {

PrefixFactor::PrefixFactor(std::size_t bands) : inverse_(bands) {
  check(bands >= 1, "bands of a factor");
  inverse_[0] = 1;
  for (std::size_t k = 1; k < bands; ++k) {
    inverse_[k] = inverse_[k - 1] * (2 * static_cast<double>(k) - 3) / (2 * static_cast<double>(k));
  }
}

std::vector<double> PrefixFactor::column(std::uint64_t steps) const {
  std::vector<double> c(steps);
  for (std::uint64_t t = 0; t < steps; ++t) {
    double value = t == 0 ? 1 : 0;
    for (std::uint64_t k = 1; k < bands() && k <= t; ++k) value -= inverse_[k] * c[t - k];
    c[t] = value;
  }
  return c;
}

double PrefixFactor::squared_sensitivity(std::uint64_t period,
                                         std::span<const std::uint32_t> times) const {
  check(period > 0, "steps from one part of an example to the next");
  const std::uint64_t steps = times.size();
  // What an example with contributions of 1 at steps 0, period, … adds to the release of each step.
  std::vector<double> added = column(steps);
  for (std::uint64_t t = period; t < steps; ++t) added[t] += added[t - period];
  std::vector<double> squares(steps + 1);  // of the first so many
  for (std::uint64_t t = 0; t < steps; ++t) squares[t + 1] = squares[t] + added[t] * added[t];

  std::vector<std::uint64_t> again;
  for (std::uint64_t t = 0; t < steps; ++t) {
    check(times[t] > 0, "steps that were released, without a gap");
    if (times[t] > 1) again.push_back(t);
  }
  if (again.empty()) return squares[steps];  // it is worst to begin at once
  double worst = 0;
  for (std::uint64_t first = 0; first < std::min(period, steps); ++first) {
    double sum = squares[steps - first];
    for (const std::uint64_t t : again) {
      if (t < first) continue;
      sum += (times[t] - 1) * added[t - first] * added[t - first];
    }
    worst = std::max(worst, sum);
  }
  return worst;
}

double PrefixFactor::error(std::uint64_t step) const {
  // B = A D is Toeplitz; its first column are the sums of that of D.
  double value = 0, squares = 0;
  for (std::uint64_t t = 0; t <= step; ++t) {
    if (t < bands()) value += inverse_[t];
    squares += value * value;
  }
  return squares;
}

}  // namespace sheaf::privacy
