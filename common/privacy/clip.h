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
//   adaptive   a C / max(n, B)  with a bound B that follows a quantile of the norms (Andrew,
//                               Thakkar, McMahan, Ramaswamy, "Differentially private learning with
//                               adaptive clipping", NeurIPS 2021)
//
// What is not finite has weight 0, so that it is left out.
//
// The adaptive bound is B = C exp(x), and x one more parameter of the model, 0 at first. Beside its
// gradient an example adds u/2 to the coordinate of x if its norm is at most B, else -u/2 (Andrew
// et al.: half the sensitivity of 1 and 0). All that it adds, both together, has a norm of at most
// C,
//   a^2 C^2 + u^2 / 4 = C^2,
// so the one noise of the whole vector hides it at the price of flat clipping: in the terms of the
// paper the noise of the gradient is sigma / a, that of the count sigma C / u, and a is what makes
// their release together cost sigma. As x is part of the vector, its sums are added, noised,
// applied once, kept and read as all others are. Servers take it down the gradient, x -= rate (b -
// q), with b the noised share of a step's expected examples whose norm is below B and q the
// quantile to be found: that is B *= exp(-rate (b - q)).
//
// What is clipped to B is scaled to a norm of a C, whatever B is: a server needs not know B to add
// the noise. With B = C it is flat clipping, but for a; a step has the length that C, not B, gives
// it.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/params/layout.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::privacy {

enum class ClipKind : std::uint8_t { flat, automatic, adaptive };

struct Clip {
  ClipKind kind = ClipKind::flat;
  double norm = 1;             // of all of it together, above 0
  double gamma = 0.01;         // of automatic, above 0
  std::uint64_t examples = 1;  // m, above 0

  // Of adaptive.
  double quantile = 0.5;        // of the norms, that the bound is to be; between 0 and 1
  double bound_rate = 0.2;      // above 0
  double count_share = 0.0025;  // u^2 / 4 C^2 at most: what the count takes of the privacy
  double bound = 1;             // B / C, of the step

  // The weight of a gradient whose squares have this sum. Rounded down, so that weight times norm
  // is at most C; of adaptive at most a C.
  float weight(double squares) const;

  // ---- of adaptive; the rest is nobody's
  bool adapts() const { return kind == ClipKind::adaptive; }
  // The same with the bound that a step's parameter x says.
  Clip at(float x) const;
  // What such a gradient adds to the coordinate of x, in units of u: 1/2, -1/2, or what leaves x
  // where it is if it is not finite.
  double half(double squares) const;
  // u; of a user's example u / m. Of 8 significant bits, so that sums of up to 2^15 examples are
  // exact.
  float count_unit() const;
  // u: what an example, or all of a user's, adds at most is half of it.
  double of_all_counts() const {
    return static_cast<double>(count_unit()) * static_cast<double>(examples);
  }
  // How servers go on with x.
  params::Descent bound_descent() const;
};

std::string_view to_string(ClipKind kind);

// From the keys `clip`, `clipping` and those that it has by itself.
Clip read_clip(const config::Section& section);

}  // namespace sheaf::privacy
