// Initial values of weights. Pure functions of their arguments and the stream's name.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "common/base/random.h"

namespace sheaf::worker {

// he      normal, standard deviation sqrt(2 / fan_in)            (He et al., ICCV 2015): for relu
// glorot  uniform in +-sqrt(6 / (fan_in + fan_out))  (Glorot and Bengio, AISTATS 2010): for the
// rest zero    zeros
enum class Initialiser { he, glorot, zero };

// What a config calls them, in the order of the enumeration.
inline constexpr std::array<std::string_view, 3> kInitialiserNames = {"he", "glorot", "zero"};

void initialise(Initialiser kind, std::size_t fan_in, std::size_t fan_out, Stream& stream,
                std::span<float> values);

}  // namespace sheaf::worker
