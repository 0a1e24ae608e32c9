// The discrete Gaussian distribution on the integers, P(x) in proportion to e^(-x^2 / 2 s^2), drawn
// exactly: in integers alone, without a rounding anywhere (Canonne, Kamath, Steinke, "The discrete
// Gaussian for differential privacy", NeurIPS 2020, algorithms 1 to 3). On integer data its Renyi
// divergences are at most those of normal noise (theorem 4 there), and its bits betray nothing. How
// long a draw takes depends on what is drawn: do not let others time it.
//
// Some millions of draws a second, a hundredth of what normal noise does. No mechanism adds it yet.
// Not thread-safe.
#pragma once

#include <cstdint>

#include "common/privacy/noise/secret_words.h"

namespace sheaf::privacy {

class DiscreteGaussian {
 public:
  // s^2 = numerator / denominator. Throws Fault::config unless both are above 0, the denominator is
  // up to 2^16 and s^2 up to 2^32.
  DiscreteGaussian(std::uint64_t numerator, std::uint64_t denominator, const math::ChachaKey& key);

  std::int64_t next();

 private:
  bool bernoulli_exp(UInt128 numerator, UInt128 denominator);  // true with e^-(ratio)
  std::int64_t discrete_laplace();                             // in proportion to e^(-|x| / scale_)

  SecretWords words_;
  std::uint64_t numerator_, denominator_;
  std::uint64_t scale_;  // floor(s) + 1
};

}  // namespace sheaf::privacy
