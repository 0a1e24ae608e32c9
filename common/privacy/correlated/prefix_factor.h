// How noise is spread over the steps of a training whose examples are not sampled (DP-FTRL; Kairouz
// et al., "Practical and private (deep) learning without sampling or shuffling", ICML 2021).
//
// With x_t the clipped sum of step t, what matters to a model are the sums A x, A the lower
// triangular matrix of ones. With A = B C, releasing A x + B z = A (x + C^-1 z) is one release of
// the Gaussian mechanism: of C x, with white noise z, though each x_t may depend on what was
// released before (Denisov et al., NeurIPS 2022). So step t adds (C^-1 z)_t to x_t.
//
// C^-1 here is lower triangular and Toeplitz, with d_k on its first `bands` diagonals and 0 below,
// where d_k are the coefficients of sqrt(1 - x): 1, -1/2, -1/8, … With all of them B = C is the
// square root of A (Fichtenberger, Henzinger, Upadhyay, "Constant matters", ICML 2023). With few
// (Kalinin, McKenna, Upadhyay, Lampert, "Back to square roots", 2025: banded inverse square root)
// the noise of a step is made of `bands` white noises and of nothing else that happened before.
// With 1 the noise of steps is independent. Immutable and thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sheaf::privacy {

class PrefixFactor {
 public:
  // REQUIRES: bands >= 1.
  explicit PrefixFactor(std::size_t bands);

  std::size_t bands() const { return inverse_.size(); }
  // d_0 = 1, d_1 = -1/2, …
  std::span<const double> inverse() const { return inverse_; }
  // c_0 = 1, c_1 = 1/2, …, the first `steps` values of a column of C. Each c_t is the sum of
  // -d_k c_(t-k) over k >= 1, so none is negative. O(steps x bands).
  std::vector<double> column(std::uint64_t steps) const;

  // The square of the most by which all that was released of C x changes (2-norm over releases and
  // parameters) when what one example contributes becomes 0: it is in the steps o, o + period,
  // o + 2 period, … for some o < period, with a norm of at most 1 in each. (Another example in its
  // place changes twice as much.) `times`: how often each step from 0 on was released, at least
  // once. When a step is taken again, so are those after it, and white noise is made anew for all
  // of them; the noise of the steps before stays. Exact.
  //
  // Why: with white noises z of every time a step was taken, what was released is x + D z, with a
  // row of D for each release: d_0, d_1, … at the white noises of the way that led there. D is
  // lower triangular in the order of the releases, and the rows of D^-1 are those of C along that
  // way. So a release of step t adds |sum over j of c_(t-o-j period) g_j|^2, with g_j what the
  // example contributes on that way, at most (sum over j of c_(t-o-j period))^2, as no c is
  // negative. O(steps x bands + period x steps that were released more than once).
  double squared_sensitivity(std::uint64_t period, std::span<const std::uint32_t> times) const;

  // The variance of (B z)_t, the error of the sum behind step t = 0, 1, …, for z of variance 1.
  double error(std::uint64_t step) const;

 private:
  std::vector<double> inverse_;
};

}  // namespace sheaf::privacy
