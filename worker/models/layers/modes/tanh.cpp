#include "worker/models/layers/elementwise.h"

namespace sheaf::worker {
namespace {

std::unique_ptr<Layer> make_tanh(const config::Section&, std::size_t inputs, std::size_t) {
  return make_elementwise(math::Activation::tanh, inputs);
}

}  // namespace

extern const Mode<Layer> layer_tanh = {"tanh(x) of each value", &make_tanh};

}  // namespace sheaf::worker
