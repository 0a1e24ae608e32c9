// What a layer with parameters must know for per-example clipping without per-example gradients:
// the norm of each example's gradient, from what came in and what was propagated back, and the sum
// of the gradients once each has its weight. So the products of matrices are those of a pass
// without clipping (Goodfellow, "Efficient per-example gradient computations", 2015; Bu et al.,
// "Differentially private optimization on large model at small cost", ICML 2023).
//
//   backward_signal → add_squares → [weights from the squares of all layers] → sum
#pragma once

#include <cstddef>
#include <span>

#include "worker/models/layers/layer.h"

namespace sheaf::worker {

class ExampleRule {
 public:
  virtual ~ExampleRule() = default;

  // The part of backward() that needs no weights. Makes of `signal`, which comes as d(outputs),
  // what the other two read; writes d_in unless it is empty. `in` and `out` are those of the
  // forward pass.
  virtual void backward_signal(const Layer::Forward& pass, std::span<const float> parameters,
                               std::span<const float> in, std::span<const float> out,
                               std::span<float> signal, std::span<float> d_in) = 0;

  // squares[i] += the sum of the squares of the gradient of example i, by all tensors of the layer.
  virtual void add_squares(std::span<const float> in, std::span<const float> signal,
                           std::span<double> squares) const = 0;

  // Overwrites `gradient` with the sum over the examples of weights[i] times the gradient of
  // example i; `signal` is scratch from here on. An example of weight 0 leaves no trace if its
  // row of `in` is finite, whatever its signal.
  virtual void sum(std::span<const float> weights, std::span<const float> in,
                   std::span<float> signal, std::span<float> gradient) const = 0;
};

}  // namespace sheaf::worker
