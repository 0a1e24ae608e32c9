// One layer of a model: tensors in the flat vector, a forward and a backward pass over a batch.
// Built once per model; scratch is allocated by reserve(); not thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/base/mode.h"
#include "common/base/random.h"
#include "common/params/layout.h"
#include "worker/models/model.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::worker {

// A tensor that a layer wants in the flat vector. Initial values come from `initialise`.
struct TensorRequest {
  std::string name;  // "weight"
  std::vector<std::uint32_t> shape;
  params::Group group;
};

class ExampleRule;

class Layer {
 public:
  // `inputs` is the number of floats per example that come in, 0 if a fault before this layer
  // leaves it open; `index` the place in the stack. Faults are recorded in the section's document.
  using Make = std::unique_ptr<Layer>(const config::Section& section, std::size_t inputs,
                                      std::size_t index);

  virtual ~Layer() = default;
  // Floats per example that go out; 0 if a fault leaves it open.
  virtual std::size_t outputs() const = 0;
  virtual std::vector<TensorRequest> tensors() const { return {}; }
  // Initial values of the tensor with this place in tensors().
  virtual void initialise(std::size_t, std::span<float>, Stream&) const {}
  // Allocates for passes of up to `examples` rows; never called with less than before.
  virtual void reserve(std::size_t /*examples*/) {}

  // `parameters` and `gradient` hold this layer's tensors, one after the other.
  struct Forward {
    std::size_t examples;
    PassKey key;
    bool training;  // dropout only acts in training
  };
  // out (examples x outputs) = f(in (examples x inputs))
  virtual void forward(const Forward& pass, std::span<const float> parameters,
                       std::span<const float> in, std::span<float> out) = 0;
  // `d_out` is scratch and may be overwritten. Overwrites `gradient`; writes `d_in` unless it is
  // empty (the first layer needs none). `in` and `out` are those of the forward pass.
  virtual void backward(const Forward& pass, std::span<const float> parameters,
                        std::span<const float> in, std::span<const float> out,
                        std::span<float> d_out, std::span<float> gradient,
                        std::span<float> d_in) = 0;

  // How gradients of single examples are clipped; null: there is no way, and a job that clips them
  // is refused, unless the layer has no parameters.
  virtual ExampleRule* example_rule() { return nullptr; }
  // Whether what becomes of an example depends on its inputs alone: not on the other examples, and
  // not on its place among them. Otherwise one example more changes what others add to a gradient,
  // and clipping bounds nothing: such a job is refused, too.
  virtual bool examples_are_apart() const { return true; }
};

ModeTable<Layer> layers();

}  // namespace sheaf::worker
