// Renyi differential privacy of the sampled Gaussian mechanism (Mironov, Talwar, Zhang, "Renyi
// differential privacy of the sampled Gaussian mechanism", arXiv 1908.10530): simple, additive, and
// an upper bound; its epsilon is a few per cent above the tight one.
// Plain maths, thread-safe.
#pragma once

#include <span>

#include "common/privacy/accounting/steps.h"

namespace sheaf::privacy {

// The divergence of order `order` > 1 of one step. For add_remove, with q the sampling rate, s the
// noise and a the order, log(A) / (a - 1), where for integer orders
//
//   A = sum over k = 0 .. a of binom(a, k) (1-q)^(a-k) q^k e^((k^2 - k) / (2 s^2))
//
// and for others section 3.3 of the paper, an infinite series whose signs are those of binom(a, k).
// It is the larger one of both directions, as is shown there. For replace_one by quadrature over
// the pair `replace` of privacy_loss.h.
double renyi_divergence(const GaussianSteps& step, double order, Adjacency adjacency);

// The orders that are tried: 1.1, 1.2, … 10.9, 12, 13, … 63.
std::span<const double> renyi_orders();

struct RenyiEpsilon {
  double epsilon = 0;
  double order = 0;  // which gave it
};
// The least over the orders of
//   divergence + log(1 - 1/a) - log(delta a) / (a - 1)
// (Canonne, Kamath, Steinke 2020, proposition 12), at least 0.
RenyiEpsilon epsilon_by_renyi(History history, double delta, Adjacency adjacency);

}  // namespace sheaf::privacy
