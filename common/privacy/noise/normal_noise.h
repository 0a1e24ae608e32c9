// Normal noise of a secret key: value i of a key is always the same, and nobody without the key can
// tell it from chance.
//
// The deviates have 24 digits of precision and reach up to 11.1 deviations: what lies beyond has
// probability 1e-28. They are floats, and so is the sum of noise and value: the exact bits of a
// sum say a little about what was hidden, which the theory of real numbers does not know of
// (Mironov, "On significance of the least significant bits for differential privacy", 2012). No
// mechanism is without that yet: DiscreteGaussian is what it would be made of.
#pragma once

#include <span>

#include "common/math/secure_random.h"

namespace sheaf::privacy {

// Immutable and thread-safe.
class NormalNoise {
 public:
  explicit NormalNoise(const math::ChachaKey& key) : key_(key) {}

  // values[i] += deviation * z_i, with z_i independent standard normal. REQUIRES: fewer than 2^36
  // values.
  void add(float deviation, std::span<float> values) const;
  // values[i] = z_i.
  void fill(std::span<float> values) const;

 private:
  template <typename Use>
  void for_each_group(std::size_t size, const Use& use) const;

  math::ChachaKey key_;
};

}  // namespace sheaf::privacy
