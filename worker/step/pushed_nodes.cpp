#include "worker/step/pushed_nodes.h"

#include <bit>

namespace sheaf::worker {

std::vector<PartitionRange> pushed_nodes(const params::PartitionTree& tree, PartitionRange share,
                                         const compression::Compressor& compressor,
                                         const privacy::Mechanism& mechanism, bool synchronous) {
  if (synchronous && compressor.identity() && !mechanism.perturbs_at_worker()) {
    return tree.cover(share);
  }
  std::vector<PartitionRange> nodes;
  for (std::uint32_t p = share.first; p < share.end(); ++p) nodes.push_back({p, 1});
  return nodes;
}

std::size_t encoded_stride(const params::ChunkMap& chunks,
                           const compression::Compressor& compressor) {
  constexpr std::size_t kLine = 64;
  return (compressor.max_bytes(chunks.largest()) + kLine - 1) / kLine * kLine;
}

std::size_t sum_depth(std::uint32_t partitions) {
  return static_cast<std::size_t>(std::bit_width(partitions - 1)) + 1;
}

}  // namespace sheaf::worker
