// What an accountant is asked about: steps of the sampled Gaussian mechanism. In each, every unit
// (an example) takes part with probability `sampling_rate`, independently of all others (Poisson
// sampling; shuffled batches are something else and are not covered), what it contributes is
// clipped to norm C, and normal noise of standard deviation `noise` times C is added to the sum.
// Plain values.
#pragma once

#include <cstdint>
#include <span>

namespace sheaf::privacy {

struct GaussianSteps {
  double sampling_rate = 1;  // in (0, 1]; 1: every unit takes part in every step
  double noise = 1;          // above 0, in units of the clipping norm
  std::uint64_t count = 1;
};

// Steps of different kinds may follow each other in any order, and each may be chosen after the
// results of those before.
using History = std::span<const GaussianSteps>;

// Which two data sets must not be told apart.
enum class Adjacency {
  add_remove,   // one unit is in only one of them
  replace_one,  // one unit is another one; costs at most what two units of add_remove cost
};

// Throws Fault::config, naming the value, unless every rate is in (0, 1], every noise finite and
// above 0, and there are between 1 and 10^9 steps.
void check_history(History history);
// The same for delta in (0, 1) and epsilon above 0.
void check_delta(double delta);
void check_epsilon(double epsilon);

}  // namespace sheaf::privacy
