#include "common/privacy/accounting/loss_transform.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace sheaf::privacy {
namespace {

constexpr double kDigits = 40;  // e^-40: what is cut off, and what the sum may err
constexpr double kFade = 0.5;   // width of the fading, in units of the noise
constexpr std::size_t kLanes = 8;
constexpr std::size_t kBlock = 128;

// The density P at a point, P tilted, and the tilted one times 1 - e^(-a loss): the term of M - 1.
// All times e^-scale.
struct Term {
  double tilted, difference;
};
Term term(double log_density, double exponent, double scale) {
  const double density = std::exp(log_density - scale);
  if (exponent < 1) return {density * std::exp(exponent), density * std::expm1(exponent)};
  const double tilted = std::exp(log_density + exponent - scale);
  return {tilted, tilted - density};
}

// Sums of weight (e^(i (from + k) spacing loss) - 1) over the points, for k below `size`: each
// point starts at its first angle and is then turned by the same angle again and again. With v =
// e^(i s)
// - 1 and c = e^(i turn), the next v is v c + (c - 1): small ones keep their digits.
class Turner {
 public:
  Turner(double spacing, std::size_t size) : spacing_(spacing), size_(size) {}

  void add(double weight, double loss, double from) {
    if (filled_ == kLanes) flush();
    const double start = from * spacing_ * loss, turn = spacing_ * loss;
    const auto minus_one = [](double angle) {  // cos(angle) - 1
      const double half = std::sin(angle / 2);
      return -2 * half * half;
    };
    real_[filled_] = weight * minus_one(start);
    imag_[filled_] = weight * std::sin(start);
    cosine_[filled_] = 1 + minus_one(turn);
    sine_[filled_] = std::sin(turn);
    step_real_[filled_] = weight * minus_one(turn);
    step_imag_[filled_] = weight * std::sin(turn);
    ++filled_;
  }

  void flush() {
    for (std::size_t j = filled_; j < kLanes; ++j) {
      real_[j] = imag_[j] = step_real_[j] = step_imag_[j] = 0;
    }
    for (std::size_t k = 0; k < size_; ++k) {
      for (std::size_t j = 0; j < kLanes; ++j) {
        sums_real_[k][j] += real_[j];
        sums_imag_[k][j] += imag_[j];
        const double turned = real_[j] * cosine_[j] - imag_[j] * sine_[j] + step_real_[j];
        imag_[j] = real_[j] * sine_[j] + imag_[j] * cosine_[j] + step_imag_[j];
        real_[j] = turned;
      }
    }
    filled_ = 0;
  }

  std::complex<double> sum(std::size_t k) const {
    std::complex<double> total = 0;
    for (std::size_t j = 0; j < kLanes; ++j) {
      total += std::complex<double>(sums_real_[k][j], sums_imag_[k][j]);
    }
    return total;
  }

 private:
  using Lanes = std::array<double, kLanes>;
  double spacing_;
  std::size_t size_;
  std::size_t filled_ = 0;
  Lanes real_{}, imag_{}, cosine_{}, sine_{}, step_real_{}, step_imag_{};
  std::array<Lanes, kBlock> sums_real_{}, sums_imag_{};
};

// log(1 + m e^scale), scale >= 0.
std::complex<double> log_one_plus(std::complex<double> m, double scale) {
  if (scale > 0) return scale + std::log(m + std::exp(-scale));
  const double square = 2 * m.real() + std::norm(m);
  if (square < -0.5) return std::log(1.0 + m);  // of which little may be left
  return {0.5 * std::log1p(square), std::atan2(m.imag(), 1 + m.real())};
}

}  // namespace

double LossTransform::limit(const PrivacyLoss& loss, double mass) {
  if (loss.direction() == Direction::add) return kInfinity;
  // A normal deviate exceeds z with probability e^(-z^2 / 2) / 2 at most; fading is a second one.
  const double deviation = loss.noise() * std::sqrt(1 + kFade * kFade);
  return 1 + deviation * std::sqrt(-2 * std::log(mass));
}

double LossTransform::log_density(double x) const {
  const double log_p = loss_.log_density(x);
  if (limit_ == kInfinity) return log_p;
  const double beyond = (x - limit_) / (std::numbers::sqrt2 * kFade * loss_.noise());
  return beyond < -6 ? log_p : log_p + std::log(0.5 * std::erfc(beyond));
}

// The tilted density may have two humps, near 0 and near a + 1 (replace: 2 a + 1; add: -a, or
// nearer, as its loss is at most -log(1 - q)), so all between them is looked at. Half a deviation
// beside its top a normal density has lost 1/8 nat.
LossTransform::Range LossTransform::range(double a) const {
  const double noise = loss_.noise();
  double left = -12 * noise, right = 12 * noise + 1;
  switch (loss_.direction()) {
    case Direction::remove: right += a; break;
    case Direction::replace: right += 2 * a; break;
    case Direction::add:
      left -= std::min(a, noise * std::sqrt(-2 * a * std::log1p(-loss_.sampling_rate())));
  }
  right = std::min(right, limit_ + 10 * kFade * noise);
  const double step = 0.5 * noise;
  const auto steps = static_cast<std::size_t>((right - left) / step) + 1;
  std::vector<double> plain(steps + 1), tilted(steps + 1);
  Range range{right, left, 0, 0};
  double most = -kInfinity, most_tilted = -kInfinity;
  for (std::size_t i = 0; i <= steps; ++i) {
    const double x = left + static_cast<double>(i) * step;
    plain[i] = log_density(x);
    tilted[i] = plain[i] + a * loss_.loss(x);
    most = std::max(most, plain[i]);
    most_tilted = std::max(most_tilted, tilted[i]);
  }
  for (std::size_t i = 0; i <= steps; ++i) {
    if (plain[i] < most - kDigits && tilted[i] < most_tilted - kDigits) continue;
    const double x = left + static_cast<double>(i) * step;
    range.from = std::min(range.from, x - step);
    range.to = std::max(range.to, x + step);
    range.steepest = std::max({range.steepest, loss_.slope(x - step), loss_.slope(x + step)});
  }
  range.scale = std::max(0.0, most_tilted);
  return range;
}

// In the strip |Im x| <= y <= pi/2 noise^2 everything is analytic. A normal density grows there by
// e^(y^2 / 2 noise^2) at most, so does the fading with its width, e^(i t loss) by e^(1.1 t slope
// y). The mixture only shrinks, which matters where it stands below the line: with f its sampled
// share, 1/|1 - q + q e^s| grows by e^(1.3 f (1-f) (y / noise^2)^2 / 2).
double LossTransform::spacing(double a, double t, const Range& range) const {
  const double variance = loss_.noise() * loss_.noise();
  double growth = 1 / (2 * variance);  // of the exponent, per y^2
  if (limit_ < kInfinity) growth += 1 / (2 * kFade * kFade * variance);
  if (loss_.direction() != Direction::remove) {
    const double share = std::min(0.25, range.steepest * variance);
    growth += 0.65 * a * share / (variance * variance);
  }
  const double y = std::min(std::sqrt(kDigits / growth), std::numbers::pi / 2 * variance);
  return 2 * std::numbers::pi / (kDigits / y + growth * y + 1.1 * t * range.steepest);
}

std::size_t LossTransform::count(const Range& range, double step) {
  return static_cast<std::size_t>((range.to - range.from) / step) + 1;
}

std::size_t LossTransform::points(double a, double t) const {
  const Range where = range(a);
  return count(where, spacing(a, t, where));
}

Cumulants LossTransform::at(double a) const {
  const Range where = range(a);
  const double step = spacing(a, 0, where);
  double sum = 0, difference = 0, magnitude = 0, first = 0, second = 0;
  for (std::size_t i = 0; i < count(where, step); ++i) {
    const double x = where.from + static_cast<double>(i) * step;
    const double loss = loss_.loss(x);
    const Term at_x = term(log_density(x), a * loss, where.scale);
    sum += at_x.tilted;
    difference += at_x.difference;
    magnitude += std::abs(at_x.difference);
    first += at_x.tilted * loss;
    second += at_x.tilted * loss * loss;
  }
  const double mean = first / sum;
  return {log_one_plus(difference * step, where.scale).real(), mean,
          std::max(0.0, second / sum - mean * mean), magnitude / sum};
}

void LossTransform::along_line(double a, std::size_t from, double spacing_t,
                               std::span<std::complex<double>> values) const {
  const Range where = range(a);
  for (std::size_t done = 0; done < values.size(); done += kBlock) {
    const std::size_t size = std::min(kBlock, values.size() - done);
    const auto start = static_cast<double>(from + done);
    const double step = spacing(a, (start + static_cast<double>(size)) * spacing_t, where);
    Turner turner(spacing_t, size);
    double difference = 0;
    for (std::size_t i = 0; i < count(where, step); ++i) {
      const double x = where.from + static_cast<double>(i) * step;
      const double loss = loss_.loss(x);
      const Term at_x = term(log_density(x), a * loss, where.scale);
      difference += at_x.difference;
      turner.add(at_x.tilted, loss, start);
    }
    turner.flush();
    for (std::size_t k = 0; k < size; ++k) {
      values[done + k] = log_one_plus((difference + turner.sum(k)) * step, where.scale);
    }
  }
}

}  // namespace sheaf::privacy
