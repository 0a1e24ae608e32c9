// The blocks in which a chunk is worked on, and where the optimizer's state of each lies.
#pragma once

#include <algorithm>
#include <cstddef>

#include "common/params/chunk_map.h"
#include "common/params/layout.h"

namespace sheaf::server {

// Sums, checks and optimizer steps run over so many floats at a time: what one reads or writes is
// still in the first cache for the next. Part of what decides the bits of a norm.
inline constexpr std::size_t kBlock = 4096;

// Calls body(range, at, count) for each block of a chunk that one optimizer step takes: `at` counts
// from the start of the chunk, and the block lies in one range.
template <typename Body>
void each_block(const params::Chunk& chunk, Body body) {
  for (const params::GroupRange& range : chunk.ranges) {
    const std::size_t end = range.offset + range.size;
    for (std::size_t at = range.offset; at < end; at += kBlock) {
      body(range, at, std::min(kBlock, end - at));
    }
  }
}

// What scales rate and decay there. Of local steps the group's rate is in the way that they went;
// frozen stays frozen.
inline params::Group group_of(const params::Layout& layout, const params::GroupRange& range,
                              bool local) {
  params::Group group = layout.groups()[range.group];
  if (local && group.rate_scale != 0) group.rate_scale = 1;
  return group;
}

// The state of a chunk lies block by block, as apply() goes, the runs of each behind one another.
// Calls body(ours, theirs, count) for each piece of a run: where it lies there, and where in whole
// runs one after the other.
template <typename Body>
void each_piece_of_state(const params::Chunk& chunk, std::size_t runs, Body body) {
  each_block(chunk, [&](const params::GroupRange&, std::size_t at, std::size_t count) {
    for (std::size_t run = 0; run < runs; ++run) {
      body(at * runs + run * count, run * chunk.size + at, count);
    }
  });
}

}  // namespace sheaf::server
