// Which chunks of a job are pushed as factors (compressor powersgd), and where in the job's vector
// the factors stand. Behind the parameters two tensors are averaged instead of optimized, in chunks
// of their own:
//
//   parameters | left factors of all matrices | right factors of the same
//
// so that a round of a step is a push and a pull like any other: counted once, kept, copied and
// saved like parameters. In step t each partition pushes M V, V made of version t of the right
// factors; everybody pulls version t + 1 of the left ones, P once it is orthonormal; then each
// partition pushes P and its own M' P in the place of the chunk, and M' P for the right factors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/compression/low_rank.h"
#include "common/params/chunk_map.h"
#include "common/params/layout.h"

namespace sheaf::compression {

struct FactoredChunk {
  std::uint32_t chunk = 0;
  std::vector<Matrix> matrices;  // ascending; what is in none goes as floats
  // Where the factors of the first matrix begin among the left ones, and among the right ones;
  // those of the others follow.
  std::size_t left = 0;
  std::size_t right = 0;
};

struct Factors {
  std::uint32_t rank = 0;
  std::vector<FactoredChunk> chunks;  // ascending
  std::size_t parameters = 0;         // elements: there the left ones begin
  std::size_t left_floats = 0;        // behind which the right ones begin
  std::size_t right_floats = 0;

  std::size_t right_begin() const { return parameters + left_floats; }
  std::size_t end() const { return right_begin() + right_floats; }
  const FactoredChunk* find(std::uint32_t chunk) const;  // null: it is no such chunk
};

// Of a layout of parameters, or one with factors behind them. `candidates`: which chunks may be
// pushed so. A matrix is what a chunk has of a tensor of two dimensions or more, with a row for
// each index of the first one, if its two factors, pushed twice, are fewer floats than it.
Factors factors_of(std::uint32_t rank, const params::Layout& layout, const params::ChunkMap& chunks,
                   const std::vector<bool>& candidates);

// The layout with these factors behind its parameters; as it is where there are none.
params::Layout with_factors(const Factors& factors, params::Layout layout);

}  // namespace sheaf::compression
