#include "common/params/chunk_map.h"

#include <algorithm>

#include "common/base/error.h"

namespace sheaf::params {
namespace {

constexpr std::size_t kLine = 16;  // floats of a cache line: pieces of a tensor start on one

std::size_t automatic_bytes(std::size_t vector_bytes) {
  return std::clamp<std::size_t>(vector_bytes / 16, 4U << 10, 1U << 20);
}

}  // namespace

ChunkMap::ChunkMap(const Layout& layout, std::size_t chunk_bytes) {
  if (chunk_bytes == 0) chunk_bytes = automatic_bytes(layout.parameters().size() * sizeof(float));
  const std::size_t most = std::max(kLine, chunk_bytes / sizeof(float) / kLine * kLine);

  bool open = false;  // the last chunk takes further whole tensors
  for (const Tensor& tensor : layout.tensors()) {
    if (tensor.size <= most) {
      const bool alone = layout.groups()[tensor.group].averaged;
      if (alone || !open || chunks_.back().size + tensor.size > most) {
        chunks_.push_back({tensor.offset, 0, {}});
        open = !alone;
      }
      Chunk& chunk = chunks_.back();
      chunk.ranges.push_back({chunk.size, tensor.size, tensor.group});
      chunk.size += tensor.size;
      continue;
    }
    const std::size_t pieces = (tensor.size + most - 1) / most;
    const std::size_t piece = ((tensor.size + pieces - 1) / pieces + kLine - 1) / kLine * kLine;
    for (std::size_t begin = 0; begin < tensor.size; begin += piece) {
      const std::size_t size = std::min(piece, tensor.size - begin);
      chunks_.push_back({tensor.offset + begin, size, {{0, size, tensor.group}}});
    }
    open = false;
  }
  for (const Chunk& chunk : chunks_) largest_ = std::max(largest_, chunk.size);
}

std::size_t ChunkMap::first_at(std::size_t offset) const {
  const auto found = std::lower_bound(chunks_.begin(), chunks_.end(), offset,
                                      [](const Chunk& c, std::size_t o) { return c.offset < o; });
  return static_cast<std::size_t>(found - chunks_.begin());
}

std::size_t ChunkMap::holding(std::size_t offset) const {
  const auto after = std::upper_bound(chunks_.begin(), chunks_.end(), offset,
                                      [](std::size_t o, const Chunk& c) { return o < c.offset; });
  check(after != chunks_.begin(), "the first chunk starts at 0");
  return static_cast<std::size_t>(after - chunks_.begin()) - 1;
}

}  // namespace sheaf::params
