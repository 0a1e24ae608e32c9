#include "worker/models/layers/elementwise.h"

namespace sheaf::worker {
namespace {

std::unique_ptr<Layer> make_sigmoid(const config::Section&, std::size_t inputs, std::size_t) {
  return make_elementwise(math::Activation::sigmoid, inputs);
}

}  // namespace

extern const Mode<Layer> layer_sigmoid = {"1 / (1 + e^-x) of each value", &make_sigmoid};

}  // namespace sheaf::worker
