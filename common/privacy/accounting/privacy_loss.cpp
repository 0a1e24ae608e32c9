#include "common/privacy/accounting/privacy_loss.h"

#include <cmath>
#include <numbers>

namespace sheaf::privacy {
namespace {

// The mass of a standard normal between two points.
double normal_mass(double from, double to) {
  if (from > 0) return normal_mass(-to, -from);  // erfc keeps the digits of a left tail, too
  return 0.5 * (std::erfc(-to / std::numbers::sqrt2) - std::erfc(-from / std::numbers::sqrt2));
}

}  // namespace

PrivacyLoss::PrivacyLoss(double sampling_rate, double noise, Direction direction)
    : q_(sampling_rate), noise_(noise), direction_(direction) {}

// log(1 - q + q e^s): near 0 by its difference from 0, for large s by its difference from s.
double PrivacyLoss::removal(double x) const {
  const double s = (2 * x - 1) / (2 * noise_ * noise_);
  if (q_ == 1) return s;
  if (s > 1) return s + std::log(q_ + (1 - q_) * std::exp(-s));
  if (q_ > 0.5 && s < -1) return std::log((1 - q_) + q_ * std::exp(s));
  return std::log1p(q_ * std::expm1(s));
}

double PrivacyLoss::fraction(double x) const {
  const double s = (2 * x - 1) / (2 * noise_ * noise_);
  return q_ / (q_ + (1 - q_) * std::exp(-s));
}

double PrivacyLoss::loss(double x) const {
  if (direction_ == Direction::remove) return removal(x);
  if (direction_ == Direction::add) return -removal(x);
  return removal(x) - removal(-x);
}

double PrivacyLoss::slope(double x) const {
  const double other = direction_ == Direction::replace ? fraction(-x) : 0;
  return (fraction(x) + other) / (noise_ * noise_);
}

// s = log((e^loss - 1 + q) / q)
double PrivacyLoss::removal_point(double loss) const {
  const double variance = noise_ * noise_;
  if (q_ == 1) return variance * loss + 0.5;
  const double s = loss > 1 ? loss + std::log1p((q_ - 1) * std::exp(-loss)) - std::log(q_)
                            : std::log1p(std::expm1(loss) / q_);
  return std::isnan(s) ? -kInfinity : variance * s + 0.5;
}

// With E = e^(x / noise^2), b = 1 - q, c = q e^(-1 / 2 noise^2): (b + c E) / (b + c / E) = e^loss
// is a quadratic equation for E. The loss is odd in x.
double PrivacyLoss::replacement_point(double loss) const {
  if (loss < 0) return -replacement_point(-loss);
  const double variance = noise_ * noise_;
  if (q_ == 1) return variance * loss / 2;
  const double log_c = std::log(q_) - 1 / (2 * variance);
  const double b = (1 - q_) * -std::expm1(-loss);
  const double root = std::sqrt(b * b + 4 * std::exp(2 * log_c - loss));
  return variance * (loss + std::log(b + root) - std::numbers::ln2 - log_c);
}

double PrivacyLoss::point(double loss) const {
  if (direction_ == Direction::remove) return removal_point(loss);
  if (direction_ == Direction::add) return removal_point(-loss);
  return replacement_point(loss);
}

double PrivacyLoss::log_density(double x) const {
  const double z = x / noise_;
  const double normal = -0.5 * z * z - std::log(noise_) - 0.5 * std::log(2 * std::numbers::pi);
  return direction_ == Direction::add ? normal : normal + removal(x);
}

// They differ by q times two normal densities whose means lie one or two norms apart.
double PrivacyLoss::total_variation() const {
  const double half = direction_ == Direction::replace ? 1 : 0.5;
  return q_ * std::erf(half / (std::numbers::sqrt2 * noise_));
}

double PrivacyLoss::mass_p(double from, double to) const {
  const double out = normal_mass(from / noise_, to / noise_);
  if (direction_ == Direction::add) return out;
  return (1 - q_) * out + q_ * normal_mass((from - 1) / noise_, (to - 1) / noise_);
}

double PrivacyLoss::mass_q(double from, double to) const {
  const double out = normal_mass(from / noise_, to / noise_);
  if (direction_ == Direction::remove) return out;
  const double shift = direction_ == Direction::add ? 1 : -1;
  return (1 - q_) * out + q_ * normal_mass((from - shift) / noise_, (to - shift) / noise_);
}

}  // namespace sheaf::privacy
