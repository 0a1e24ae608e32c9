// What becomes of a gradient that is not finite: `optimizer.non_finite` of a job file.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sheaf::optimization {

enum class NonFinite : std::uint8_t {
  abort,   // it ends the job
  skip,    // its step is left out: parameters and state stay, the version advances
  reject,  // its partition is left out of the step, with its examples
};
inline constexpr std::array<std::string_view, 3> kNonFiniteWords = {"abort", "skip", "reject"};

}  // namespace sheaf::optimization
