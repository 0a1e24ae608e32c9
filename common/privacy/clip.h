// How much of one example's gradient goes into a sum, so that what is protected can change the sum
// by no more than the norm C: an example, or a user of whom at most m examples are in the sum, each
// of them clipped to C / m; below, C is what one example is clipped to. The gradient is the one of
// all tensors together: one joint norm. Immutable; thread-safe.
//
//   flat       min(1, C / n)    of a gradient of norm n (Abadi et al., "Deep learning with
//                               differential privacy", CCS 2016)
//   automatic  C / (n + gamma)  AUTO-S (Bu et al., "Automatic clipping", NeurIPS 2023): every
//                               gradient counts alike, and C is no longer to be tuned, since only
//                               its product with the rate matters
//
// What is not finite has weight 0, so that it is left out.
#pragma once

#include <cstdint>

namespace sheaf::config {
class Section;
}

namespace sheaf::privacy {

enum class ClipKind : std::uint8_t { flat, automatic };

struct Clip {
  ClipKind kind = ClipKind::flat;
  double norm = 1;             // of all of it together, above 0
  double gamma = 0.01;         // of automatic, above 0
  std::uint64_t examples = 1;  // m, above 0

  // The weight of a gradient whose squares have this sum. Rounded down, so that weight times norm
  // is at most C.
  float weight(double squares) const;
};

// From the keys `clip`, `clipping` and `gamma`.
Clip read_clip(const config::Section& section);

}  // namespace sheaf::privacy
