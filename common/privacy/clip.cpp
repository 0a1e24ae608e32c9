#include "common/privacy/clip.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "common/config/section.h"

namespace sheaf::privacy {

float Clip::weight(double squares) const {
  if (!std::isfinite(squares)) return 0;
  const double n = std::sqrt(squares);
  const double most = norm / static_cast<double>(examples);
  const double exact = kind == ClipKind::flat ? (n <= most ? 1.0 : most / n) : most / (n + gamma);
  const auto rounded = static_cast<float>(exact);
  return static_cast<double>(rounded) > exact ? std::nextafter(rounded, 0.0F) : rounded;
}

Clip read_clip(const config::Section& section) {
  static constexpr std::array<std::string_view, 2> kClippings = {"flat", "automatic"};
  Clip clip;
  clip.norm = section.real("clip", 1.0, {config::kAboveZero, 1e6});
  clip.kind = section.word("clipping", kClippings, kClippings[0]) == kClippings[0]
                  ? ClipKind::flat
                  : ClipKind::automatic;
  if (clip.kind == ClipKind::automatic) {
    clip.gamma = section.real("gamma", 0.01, {config::kAboveZero, 1e6});
  }
  return clip;
}

}  // namespace sheaf::privacy
