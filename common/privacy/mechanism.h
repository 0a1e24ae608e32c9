// What a job does so that nobody learns an example from what is released: how the gradient of each
// example is clipped, and who adds noise to sums of them. In code the order is one of types
// (worker/step/release.h): only what was clipped can be noised, and only what was noised, where it
// is to be, can be encoded.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "common/base/ids.h"
#include "common/base/mode.h"
#include "common/privacy/clip.h"
#include "common/privacy/noise/noise_branch.h"
#include "common/wire/handshake.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::privacy {

// Names one perturbation: the same name on the same input releases the same value.
struct NoiseKey {
  Step step = 0;
  std::uint32_t partition = 0;  // 0 where a server adds noise
  std::uint32_t chunk = 0;
};

class Mechanism {
 public:
  using Make = std::unique_ptr<Mechanism>(const config::Section& section);

  virtual ~Mechanism() = default;

  // What becomes of the gradient of each example; nothing: it is not looked at.
  virtual std::optional<Clip> clip() const { return std::nullopt; }

  // Each partition adds noise to its sum; then none may be added to another before.
  virtual bool perturbs_at_worker() const = 0;

  // A server adds noise once to the sum over all partitions, which come to it as they are: over
  // links that nobody reads, and not through a compressor.
  virtual bool perturbs_at_server() const { return false; }

  // Of how many white noises, of this step and those before, the noise of a step is made; 0: each
  // step has its own.
  virtual std::size_t bands() const { return 0; }

  // Adds the noise to one chunk, in place. Returns a digest of what was released: the same for the
  // same name and values, and another one for others; it tells nothing about them. Const and
  // thread-safe. REQUIRES: one of the two above, and that it is armed.
  virtual wire::Digest perturb(std::span<float> values, const NoiseKey& key) const = 0;

  // The same with what is known only when a job has begun: so much noise, in units of the clipping
  // norm, from that secret; where steps share noise, with the branches that lead to the steps to
  // come, the first from step 0. Null where there is no noise.
  virtual std::unique_ptr<Mechanism> armed(double /*noise*/, const wire::Digest& /*secret*/,
                                           std::span<const NoiseBranch> /*branches*/) const {
    return nullptr;
  }
};

ModeTable<Mechanism> mechanisms();

}  // namespace sheaf::privacy
