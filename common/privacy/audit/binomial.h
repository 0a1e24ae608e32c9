// Tails of the binomial distribution and what they say of its probability. Pure functions.
#pragma once

#include <cstdint>

namespace sheaf::privacy {

// P(X >= least), X ~ Binomial(trials, probability): the regularised incomplete beta function
// I_p(k, n - k + 1), by its continued fraction (Press et al., "Numerical recipes", 6.4). Relative
// error about 1e-12.
double binomial_tail(std::uint64_t trials, std::uint64_t least, double probability);

// Clopper and Pearson (1934): the true probability is at most that, but for a chance of
// `significance`, if `found` of `trials` have been found. 1 if all were.
double most_probable(std::uint64_t trials, std::uint64_t found, double significance);

}  // namespace sheaf::privacy
