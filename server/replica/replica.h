// What a lane keeps of a lane of another server, its primary, so that the job goes on without an
// acknowledged step lost when that one is lost: the same chunks, brought forward by the same
// optimizer from the very sums that the primary has applied. The optimizer is deterministic, so
// both have the same bits.
//
//   primary ── copy of a chunk, then a sum for each step ──▶ replica ── replicated ──▶ primary
//   successor of the primary ── give ──▶ replica ── copies ──▶ successor, a primary from then on
//
// The other end of the conversation is Replication. Plain code: no sockets, no threads, no time.
// Belongs to one lane; not thread-safe. What breaks the rules throws Fault::network.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/compression/compressor.h"
#include "common/optimization/optimizer.h"
#include "common/params/chunk_map.h"
#include "common/params/layout.h"
#include "common/wire/out_frame.h"
#include "server/replica/chunk_copy.h"

namespace sheaf::server {

// The payload of a sum: its floats, then two doubles, the rate and the scalar.
constexpr std::size_t sum_bytes(std::size_t elements) {
  return elements * sizeof(float) + 2 * sizeof(double);
}

class Replica {
 public:
  // All borrowed; outlives the object.
  struct Parts {
    const params::Layout& layout;
    const params::ChunkMap& chunks;
    const std::vector<std::uint32_t>& ids;  // of the primary's chunks
    const optimization::Optimizer& optimizer;
    std::uint32_t clocks = 0;  // partitions, where pushes are steps of their own; else 0
    bool local = false;        // sums are of ways that local steps went
    // With feedback of pulls what they are encoded by, else null; and the seed of the run.
    const compression::Compressor* pull = nullptr;
    std::uint64_t seed = 0;
    CopyShape shape() const { return {optimizer.state_per_parameter(), clocks, pull != nullptr}; }
  };
  // `whole`: nothing has happened yet that it should know of.
  Replica(const Parts& parts, bool whole);

  // A new connection of the primary, or of its successor: what was under way is forgotten.
  void on_connected();
  // Exactly where the payload goes.
  std::span<std::byte> receive_into(const wire::Header& header);
  void on_frame(const wire::Header& header);
  std::optional<wire::OutFrame> next_frame();

  // At most, in bytes; of one for such chunks.
  static std::size_t memory_bound(const Parts& parts);

 private:
  std::size_t index_of(const wire::Header& header) const;
  void on_word(wire::ReplicaWord word);
  void on_sum(const wire::Header& header);
  void acknowledge(const wire::Header& header, Version version);
  void say(wire::ReplicaWord word);

  Parts parts_;
  bool whole_;
  std::vector<std::int32_t> place_;  // chunk id → index into copies_, -1 = not here
  std::vector<ChunkCopy> copies_;
  CopyReceiver receiver_;
  AlignedBuffer<std::byte> sum_;      // that is being received
  AlignedBuffer<std::byte> encoded_;  // what workers were sent: only the way there counts
  std::deque<wire::OutFrame> outbox_;
  std::size_t given_ = 0;  // copies that were sent, or have nothing to send
  bool giving_ = false;
  CopySender sender_;
};

}  // namespace sheaf::server
