// What a worker knows of the two rounds in which chunks are pushed as factors (common/compression/
// factors.h): begin() with the right factors that were pulled, left() of each partition, average()
// with the left ones that are pulled then, encode() of each partition. Owns the factors. Belongs to
// the compute thread.
#pragma once

#include <cstdint>
#include <span>

#include "common/base/aligned_buffer.h"
#include "common/base/ids.h"
#include "common/compression/factors.h"

namespace sheaf::worker {

class FactorRounds {
 public:
  // The factors outlive it. `seed`: of the run, for vectors that are drawn.
  FactorRounds(const compression::Factors& factors, std::uint64_t seed);

  const compression::Factors& factors() const { return factors_; }

  // Of `step`, with version `step` of all right factors: V is what spans the same, orthonormal;
  // vectors that are 0, as all are at first, are drawn by step and chunk.
  void begin(Step step, std::span<const float> right);
  // All left factors M V of a partition, to be pushed. `values`: the parameters' vector of what the
  // partition wants to push.
  std::span<const float> left(const params::ChunkMap& chunks, std::span<const float> values);
  // With version step + 1 of all left factors: P of each chunk, the same for everybody.
  void average(std::span<const float> left);
  // A partition's encoding of one chunk; the size of it.
  std::size_t encode(const compression::FactoredChunk& chunk, std::span<const float> values,
                     std::span<std::byte> bytes);
  // The right factors M' P of all chunks that were encoded since left(), to be pushed.
  std::span<const float> right() const { return own_right_.span(); }

 private:
  const compression::Factors& factors_;
  std::uint64_t seed_;
  AlignedBuffer<float> right_, left_;  // V and P, of all partitions
  AlignedBuffer<float> own_left_, own_right_;
};

}  // namespace sheaf::worker
