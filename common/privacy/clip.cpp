#include "common/privacy/clip.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "common/base/error.h"
#include "common/config/section.h"
#include "common/math/kernels.h"

namespace sheaf::privacy {
namespace {

constexpr std::array<std::string_view, 3> kClippings = {"flat", "automatic", "adaptive"};

// Beyond that no norm is, and exp() is still a number.
constexpr float kMostLogBound = 60;

}  // namespace

float Clip::weight(double squares) const {
  if (!std::isfinite(squares)) return 0;
  const double n = std::sqrt(squares);
  const double most = norm / static_cast<double>(examples);
  double exact = 0;
  switch (kind) {
    case ClipKind::flat: exact = n <= most ? 1.0 : most / n; break;
    case ClipKind::automatic: exact = most / (n + gamma); break;
    case ClipKind::adaptive: {
      const double half = static_cast<double>(count_unit()) / 2;
      exact = std::sqrt(most * most - half * half) / std::max(n, most * bound);
      break;
    }
  }
  const auto rounded = static_cast<float>(exact);
  return static_cast<double>(rounded) > exact ? std::nextafter(rounded, 0.0F) : rounded;
}

Clip Clip::at(float x) const {
  float log_bound = std::clamp(x, -kMostLogBound, kMostLogBound), ratio = 0;
  math::exp({&log_bound, 1}, {&ratio, 1});  // the same bits on every processor
  Clip now = *this;
  now.bound = static_cast<double>(ratio);
  return now;
}

double Clip::half(double squares) const {
  if (!std::isfinite(squares)) return quantile - 0.5;
  return std::sqrt(squares) <= norm / static_cast<double>(examples) * bound ? 0.5 : -0.5;
}

float Clip::count_unit() const {
  int exponent = 0;
  const double unit = 2 * std::sqrt(count_share) * norm / static_cast<double>(examples);
  const double mantissa = std::frexp(unit, &exponent);
  return static_cast<float>(std::ldexp(std::floor(std::ldexp(mantissa, 8)), exponent - 8));
}

params::Descent Clip::bound_descent() const {
  const double unit = of_all_counts();
  return {static_cast<float>(bound_rate / unit), static_cast<float>(unit * (quantile - 0.5))};
}

std::string_view to_string(ClipKind kind) { return kClippings[static_cast<std::size_t>(kind)]; }

Clip read_clip(const config::Section& section) {
  Clip clip;
  clip.norm = section.real("clip", 1.0, {config::kAboveZero, 1e6});
  const std::string word = section.word("clipping", kClippings, kClippings[0]);
  clip.kind = static_cast<ClipKind>(std::ranges::find(kClippings, word) - kClippings.begin());
  if (clip.kind == ClipKind::automatic) {
    clip.gamma = section.real("gamma", 0.01, {config::kAboveZero, 1e6});
  }
  if (clip.adapts()) {
    clip.quantile = section.real("quantile", 0.5, {config::kAboveZero, config::kBelowOne});
    clip.bound_rate = section.real("bound_rate", 0.2, {config::kAboveZero, 10});
    clip.count_share = section.real("count_share", 0.0025, {1e-6, 0.5});
  }
  return clip;
}

}  // namespace sheaf::privacy
