// The flat vector cut into chunks, the units of exchange. Cut from layout and chunk size alone,
// never by the number of servers or lanes, so that a chunk's history is the same in every job.
// Immutable after construction; thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/params/layout.h"

namespace sheaf::params {

struct GroupRange {
  std::size_t offset = 0;   // elements from the start of the chunk
  std::size_t size = 0;     // elements
  std::uint32_t group = 0;  // index into Layout::groups()
};

struct Chunk {
  std::size_t offset = 0;          // elements from the start of the vector
  std::size_t size = 0;            // elements
  std::vector<GroupRange> ranges;  // cover the chunk, in order
  std::size_t bytes() const { return size * sizeof(float); }
  std::size_t end() const { return offset + size; }
};

class ChunkMap {
 public:
  // Chunks of at most `chunk_bytes` (0 = automatic: a sixteenth of the parameters, at least 4 KiB,
  // at most 1 MiB). A chunk lies in one tensor, or holds several whole small ones; what is averaged
  // shares none, and changes no chunk before it.
  ChunkMap(const Layout& layout, std::size_t chunk_bytes);

  std::size_t size() const { return chunks_.size(); }
  const Chunk& operator[](std::size_t id) const { return chunks_[id]; }
  const std::vector<Chunk>& chunks() const { return chunks_; }
  std::size_t elements() const {
    return chunks_.empty() ? 0 : chunks_.back().end();
  }  // of the vector
  std::size_t largest() const { return largest_; }  // elements of the largest chunk
  // The first chunk that begins at or after `offset`; size() if there is none.
  std::size_t first_at(std::size_t offset) const;
  // The chunk that holds element `offset`. REQUIRES: offset < size of the vector.
  std::size_t holding(std::size_t offset) const;

 private:
  std::vector<Chunk> chunks_;
  std::size_t largest_ = 0;
};

}  // namespace sheaf::params
