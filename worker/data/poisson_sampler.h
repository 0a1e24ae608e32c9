// Poisson sampling of a partition's examples: each takes part in each step with the same
// probability, independently of all others. So the union over partitions is a Poisson sample of all
// examples, which is what accountants assume.
//
// What takes part is a function of a secret of the run, the step and the partition, by ChaCha20: it
// can be drawn again by whoever computes a step again, and guessed by nobody without the secret.
// Under privacy the secret is the one that only worker processes hold; never the seed of the run,
// which everybody may read. Immutable; thread-safe.
//
// By user it is users that take part so, and of the examples of each that does at most m, every
// choice of which is equally likely.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/privacy/noise/noise_key.h"

namespace sheaf::worker {

class PoissonSampler {
 public:
  // An example takes part with probability batch / examples, to within 2^-64 and never above it.
  // REQUIRES: 0 < batch <= examples. By user both count users, and m is `examples_per_user`.
  PoissonSampler(const wire::Digest& secret, std::uint64_t batch, std::uint64_t examples,
                 std::uint64_t examples_per_user = 1);

  // Writes to `places` which of the partition's `size` examples take part, ascending.
  void sample(Step step, std::uint32_t partition, std::uint64_t size,
              std::vector<std::uint64_t>& places) const;

  // Writes to `places` which examples of the partition's users take part, ascending. User u has
  // the places from begins[u] to begins[u + 1]. REQUIRES: at least one for each user.
  void sample_users(Step step, std::uint32_t partition, std::span<const std::uint64_t> begins,
                    std::vector<std::uint64_t>& places) const;

 private:
  privacy::NoiseSecret secret_;
  bool everybody_;
  std::uint64_t below_;  // of a uniform word of 64 bits
  std::uint64_t examples_per_user_;
};

}  // namespace sheaf::worker
