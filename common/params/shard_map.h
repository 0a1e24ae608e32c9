// Which server and lane holds which chunk. Both sides compute it from the same chunks.
// Immutable after construction; thread-safe.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/params/chunk_map.h"

namespace sheaf::params {

struct LaneId {
  std::uint32_t server = 0;
  std::uint32_t lane = 0;
  bool operator==(const LaneId&) const = default;
};

class ShardMap {
 public:
  // Each chunk, in push order (last first), goes to the lane with the fewest bytes so far, so that
  // neighbours in time go to different servers. With fewer chunks than lanes some stay idle.
  ShardMap(const ChunkMap& chunks, std::uint32_t servers, std::uint32_t lanes);

  std::uint32_t servers() const { return servers_; }
  std::uint32_t lanes() const { return lanes_; }
  LaneId at(std::size_t chunk) const { return places_[chunk]; }
  // The chunks of one lane, ascending.
  const std::vector<std::uint32_t>& chunks_of(LaneId lane) const { return chunks_[index(lane)]; }
  std::size_t index(LaneId lane) const { return lane.server * std::size_t{lanes_} + lane.lane; }
  std::size_t lane_count() const { return std::size_t{servers_} * lanes_; }
  // Those that have chunks.
  std::size_t busy_lanes() const {
    return chunks_.size() - static_cast<std::size_t>(std::ranges::count_if(
                                chunks_, [](const auto& chunks) { return chunks.empty(); }));
  }

 private:
  std::uint32_t servers_;
  std::uint32_t lanes_;
  std::vector<LaneId> places_;
  std::vector<std::vector<std::uint32_t>> chunks_;
};

}  // namespace sheaf::params
