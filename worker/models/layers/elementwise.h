// A layer that applies one activation to each value. Behind the modes relu, sigmoid and tanh.
#pragma once

#include <cstddef>
#include <memory>

#include "common/math/kernels.h"
#include "worker/models/layers/layer.h"

namespace sheaf::worker {

std::unique_ptr<Layer> make_elementwise(math::Activation activation, std::size_t width);

}  // namespace sheaf::worker
