// What the steps of a private job have in common: the header of a ledger. FORMAT.md says how it is
// written. Plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/privacy/accounting/steps.h"
#include "common/privacy/noise/noise_branch.h"

namespace sheaf::privacy {

enum class NoisePlace {
  central,  // the servers add noise to the sum: a release is a step
  local,    // each partition adds noise to its part: a release is a step of one partition
};

enum class Sampling {
  poisson,  // each unit takes part with probability `sampling_rate`, independently
  shuffle,  // each example takes part in one step of each epoch; no amplification
  cyclic,   // the same, and in the same one of each epoch
};

// What is protected.
enum class Unit {
  example,
  column,  // a feature with all its values; no job of ours has it
  user,    // with all their examples, of which a step has `examples_per_user` at most
};
// The words of privacy.unit.
inline constexpr std::array<std::string_view, 2> kJobUnits = {"example", "user"};

struct LedgerTerms {
  NoisePlace where = NoisePlace::central;
  Sampling sampling = Sampling::poisson;
  double sampling_rate = 1;           // expected share of the units in a step
  std::uint64_t steps_per_epoch = 0;  // of shuffle and cyclic; else 0
  // Standard deviation, in units of the clipping norm; of the white noise of a step where steps
  // share noise.
  double noise = 0;
  double clip = 0;  // the clipping norm, of a unit
  double delta = 0;
  Unit unit = Unit::example;
  Adjacency adjacency = Adjacency::add_remove;
  std::uint64_t examples = 0;           // of the training part; not told of users: 0
  std::uint64_t users = 0;              // of the training part, if they are the unit
  std::uint64_t examples_per_user = 0;  // the same
  std::uint32_t partitions = 1;
  // Of the secrets in use, their ids (secret_id): 32 hexadecimal digits.
  std::string sampling_secret, noise_secret;
  // Where steps share noise (correlated/prefix_factor.h): of how many white noises that of a step
  // is made, and the branch that begins, whose name is 32 hexadecimal digits. Else 0, and no
  // branch.
  std::size_t bands = 0;
  NoiseBranch branch = {};

  std::uint64_t units() const { return unit == Unit::user ? users : examples; }
  bool operator==(const LedgerTerms&) const = default;
};

// Throws Fault::config, naming the value, unless every figure makes sense: a rate in (0, 1], noise,
// clip above 0, delta in (0, 1 / units), a rate of 1 where the unit is a column, Poisson sampling
// where it is a user, replace-one and steps per epoch where units are not sampled, and a fixed
// order of examples, at one place, exactly where steps share noise.
void check_terms(const LedgerTerms& terms);

// "gaussian" or "correlated".
std::string_view mechanism_of(const LedgerTerms& terms);
std::string_view to_string(NoisePlace where);
std::string_view to_string(Sampling sampling);
std::string_view to_string(Unit unit);
std::string_view to_string(Adjacency adjacency);

}  // namespace sheaf::privacy
