// What may leave a partition, in types:
//
//   PartitionGradient ──▶ Clipped ──noised──▶ Noised ──encode──▶ bytes
//                              └──for_server──▶ bytes as they are
//
// A Clipped comes from PartitionGradient alone, which clips where the job's mechanism says so; a
// Noised comes of a Clipped alone; and encode() takes nothing else. What a server is to add noise
// to has a way of its own, which meets no compressor. Everything behind the noise is
// post-processing, and free. Views of memory that outlives them.
#pragma once

#include <span>

#include "common/base/error.h"
#include "common/compression/compressor.h"
#include "common/privacy/mechanism.h"

namespace sheaf::worker {

// A chunk of one partition's sum, or, without noise at the worker, of several partitions'.
class Clipped {
 private:
  friend class PartitionGradient;
  friend class Noised;
  friend std::span<const std::byte> for_server(Clipped, const privacy::Mechanism&);
  explicit Clipped(std::span<float> values) : values_(values) {}
  std::span<float> values_;
};

class Noised {
 public:
  // Adds the mechanism's noise, in place, if the worker is to add any. REQUIRES: then the values
  // belong to key.partition alone, and lie in memory that nobody else maps; the mechanism leaves
  // nothing for a server to add.
  Noised(Clipped clipped, const privacy::Mechanism& mechanism, const privacy::NoiseKey& key)
      : values_(clipped.values_) {
    check(!mechanism.perturbs_at_server(), "what a server adds noise to is for servers alone");
    if (mechanism.perturbs_at_worker()) digest_ = mechanism.perturb(clipped.values_, key);
  }
  std::span<const float> values() const { return values_; }
  // Of what was released, if the worker has added noise.
  const wire::Digest& digest() const { return digest_; }

 private:
  std::span<const float> values_;
  wire::Digest digest_{};
};

// What goes to a server that adds the noise. REQUIRES: such a mechanism.
inline std::span<const std::byte> for_server(Clipped clipped, const privacy::Mechanism& mechanism) {
  check(mechanism.perturbs_at_server(), "somebody adds noise");
  return std::as_bytes(clipped.values_);
}

}  // namespace sheaf::worker
