// The Gaussian mechanism: to a sum of clipped gradients, before it is divided by anything, normal
// noise of standard deviation `noise` times the clipping norm is added (Abadi et al., "Deep
// learning with differential privacy", CCS 2016). One example changes the sum of all tensors
// together by at most the norm, so noise that is independent in each chunk protects it as noise on
// the whole does.
//
//   central  a server adds it once to the sum over all partitions, of each step and chunk
//   local    each partition adds it to its own sum, before it leaves the worker; the sum over P
//            partitions then carries sqrt(P) times as much
//
// Noise is a function of a secret, the name of what it hides, its bits (noise_key.h), and the
// deviation: whoever computes the same again releases the same, and no noise hides two things, or
// one thing in two sizes. Immutable; thread-safe.
#pragma once

#include "common/privacy/mechanism.h"
#include "common/privacy/noise/noise_key.h"

namespace sheaf::privacy {

// The key of noise of this deviation: HMAC(key, "sheaf noise size 1" | deviation), where the key is
// that of what is hidden. Had two deviations the same deviates z, x + 2 z and x + 3 z would show x.
math::ChachaKey sized(const math::ChachaKey& key, float deviation);

// noise * clip, never less.
float deviation_of(double noise, const Clip& clip);

// A hash of a key, which cannot be turned back.
wire::Digest release_digest(const math::ChachaKey& key);

class Gaussian final : public Mechanism {
 public:
  enum class Where { central, local };

  // `noise` in units of the clipping norm, above 0. The secret is that of servers where noise is
  // central, else that of workers.
  Gaussian(Where where, const Clip& clip, double noise, const wire::Digest& secret);

  std::optional<Clip> clip() const override { return clip_; }
  bool perturbs_at_worker() const override { return where_ == Where::local; }
  bool perturbs_at_server() const override { return where_ == Where::central; }
  wire::Digest perturb(std::span<float> values, const NoiseKey& key) const override;
  std::unique_ptr<Mechanism> armed(double noise, const wire::Digest& secret,
                                   std::span<const NoiseBranch>) const override {
    return std::make_unique<Gaussian>(where_, clip_, noise, secret);
  }

 private:
  Where where_;
  Clip clip_;
  float deviation_;  // of the noise on each value
  NoiseSecret secret_;
};

}  // namespace sheaf::privacy
