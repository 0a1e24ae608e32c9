// How well two data sets that differ in one unit can be told apart, as a curve: an event that has
// probability p with one of them has at least probability f(p) with the other. Of steps of the
// sampled Gaussian mechanism, from points (epsilon, delta) of the accountant: each says
//
//   Q >= (P - delta) e^-epsilon   and, of the complement,   Q >= 1 - delta - e^epsilon (1 - P),
//
// for either order of the two data sets. So the curve is a little below the exact one, the safe
// side for who wants to refute it. Immutable.
#pragma once

#include <vector>

#include "common/privacy/accounting/steps.h"

namespace sheaf::privacy {

class TradeOff {
 public:
  // Takes some 20 evaluations of the accountant. REQUIRES: a checked history.
  TradeOff(History history, Adjacency adjacency);

  // f(p), for p in [0, 1].
  double least(double p) const;

 private:
  struct Line {
    double epsilon, delta;
  };
  std::vector<Line> lines_;
};

}  // namespace sheaf::privacy
