#include "worker/models/layers/elementwise.h"

namespace sheaf::worker {
namespace {

std::unique_ptr<Layer> make_relu(const config::Section&, std::size_t inputs, std::size_t) {
  return make_elementwise(math::Activation::relu, inputs);
}

}  // namespace

extern const Mode<Layer> layer_relu = {"max(x, 0) of each value", &make_relu};

}  // namespace sheaf::worker
