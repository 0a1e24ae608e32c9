// All steps of a history as one privacy loss, the sum of theirs: log M is the sum of the log M of
// the steps, and
//
//   delta(epsilon) = E (1 - e^(epsilon - loss))+ .
//
// Bounds and approximations of it that need M on the real line only. Plain maths, immutable.
#pragma once

#include <complex>
#include <cstdint>
#include <span>
#include <vector>

#include "common/privacy/accounting/loss_transform.h"
#include "common/privacy/accounting/steps.h"

namespace sheaf::privacy {

class Composition {
 public:
  struct Part {
    LossTransform transform;
    double count;
  };

  // Losses of less probability than 1e-11 delta, over all steps, are left out: delta is then too
  // small by that at most. REQUIRES: a checked history.
  Composition(History history, Direction direction, double delta);

  Cumulants at(double a) const;
  const std::vector<Part>& parts() const { return parts_; }
  double total() const { return total_; }  // steps
  double delta() const { return delta_; }

  // log of the Chernoff bound of delta at tilt a: delta <= e^(K(a) - a epsilon) a^a / (1+a)^(1+a).
  double log_chernoff(double a, double epsilon) const;

  // The tilt whose saddle point lies at `epsilon`, and this epsilon, where the saddle-point
  // approximation gives delta. Good to some per cent of delta where many
  // steps decide; where single ones do, it may be far off.
  struct Saddle {
    double a = 1;
    double epsilon = 0;
  };
  Saddle saddle() const;

  // A vertical line Re z = a, and a period: an equidistant sum along the line, with spacing
  // 2 pi / period, sees all losses that differ by a multiple of the period as one, weighted with
  // e^(-a difference).
  struct Line {
    double a = 1;
    double period = 1;
    double epsilon = 0;    // for which it was chosen
    double tolerance = 0;  // of delta
  };
  // The line of the shortest period with an alias of at most tolerance * delta at `epsilon`.
  Line line(const Saddle& saddle, double epsilon, double tolerance) const;
  // A bound of the alias in delta at another epsilon, by Chernoff bounds on both sides.
  double alias(const Line& line, double epsilon) const;

 private:
  // A bound e^(log_bound - rate d) of what lies d away from epsilon, on one side of it.
  struct Side {
    bool right;
    double rate, log_bound;
  };
  std::vector<Side> sides(double a, double epsilon) const;
  double period(double a, double epsilon, double error) const;

  std::vector<Part> parts_;
  double total_ = 0;
  double delta_;
};

}  // namespace sheaf::privacy
