#include "worker/models/initialiser.h"

#include <algorithm>
#include <cmath>

namespace sheaf::worker {

void initialise(Initialiser kind, std::size_t fan_in, std::size_t fan_out, Stream& stream,
                std::span<float> values) {
  switch (kind) {
    case Initialiser::he: {
      const double deviation = std::sqrt(2.0 / static_cast<double>(fan_in));
      for (float& value : values) value = static_cast<float>(deviation * stream.normal());
      return;
    }
    case Initialiser::glorot: {
      const double limit = std::sqrt(6.0 / static_cast<double>(fan_in + fan_out));
      for (float& value : values) {
        value = static_cast<float>(limit * (2.0 * stream.uniform_double() - 1.0));
      }
      return;
    }
    case Initialiser::zero: std::fill(values.begin(), values.end(), 0.0F); return;
  }
}

}  // namespace sheaf::worker
