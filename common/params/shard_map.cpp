#include "common/params/shard_map.h"

#include <algorithm>

namespace sheaf::params {

ShardMap::ShardMap(const ChunkMap& chunks, std::uint32_t servers, std::uint32_t lanes)
    : servers_(servers), lanes_(lanes), places_(chunks.size()), chunks_(lane_count()) {
  std::vector<std::size_t> load(lane_count(), 0);
  for (std::size_t i = chunks.size(); i-- > 0;) {
    // Servers first, then lanes: two servers share the work before one server's second lane does.
    LaneId best;
    for (std::uint32_t lane = 0; lane < lanes; ++lane) {
      for (std::uint32_t server = 0; server < servers; ++server) {
        if (load[index({server, lane})] < load[index(best)]) best = {server, lane};
      }
    }
    load[index(best)] += chunks[i].size;
    places_[i] = best;
    chunks_[index(best)].push_back(static_cast<std::uint32_t>(i));
  }
  for (auto& list : chunks_) std::sort(list.begin(), list.end());
}

}  // namespace sheaf::params
