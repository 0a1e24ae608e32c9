// Normal noise that is shared by steps: what a step adds, later steps take back in part, so that
// sums over many steps have far less of it (prefix_factor.h). A server adds it to the sum of a step
// over all partitions, before it is divided by anything:
//
//   sum of step t + deviation * (d_0 z_t + d_1 z_(t-1) + … )   with `bands` white noises z
//
// White noise is a function of a secret, its branch, step and chunk, and the deviation. It is not
// one of what it hides, as that of gaussian.h is: the steps after it need it again. So no step of a
// branch may be taken twice with other values: each time that ranks begin, a branch begins.
//
// Nothing is kept between steps: noise of the past is made again, `bands` times the work of
// independent noise. So a server that begins, with whatever chunks, needs no state of another's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <span>

#include "common/privacy/correlated/prefix_factor.h"
#include "common/privacy/mechanism.h"
#include "common/privacy/noise/noise_key.h"

namespace sheaf::privacy {

// Thread-safe.
class CorrelatedGaussian final : public Mechanism {
 public:
  // `noise`: the deviation of the white noise of a step, in units of the clipping norm. REQUIRES:
  // branches with rising first steps, the first from 0 on; or none, where nothing is perturbed.
  CorrelatedGaussian(const Clip& clip, std::size_t bands, double noise, const wire::Digest& secret,
                     std::span<const NoiseBranch> branches);

  std::optional<Clip> clip() const override { return clip_; }
  bool perturbs_at_worker() const override { return false; }
  bool perturbs_at_server() const override { return true; }
  std::size_t bands() const override { return factor_.bands(); }
  // Throws Fault::internal where a chunk is at that step, or a later one, already.
  wire::Digest perturb(std::span<float> values, const NoiseKey& key) const override;

 private:
  struct Branch {
    Branch(Step begin, const wire::Digest& key) : first(begin), secret(key) {}
    Step first;
    NoiseSecret secret;
  };
  const NoiseSecret& secret_of(Step step) const;
  void take(const NoiseKey& key) const;

  Clip clip_;
  PrefixFactor factor_;
  float deviation_;  // of white noise
  std::deque<Branch> branches_;
  mutable std::mutex mutex_;
  mutable std::map<std::uint32_t, Step> next_;  // of each chunk; guarded
};

}  // namespace sheaf::privacy
