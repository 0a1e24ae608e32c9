// What the server that keeps a replica of this lane has still to be sent, and what it has: a copy
// of each chunk over a new connection, then the sum of each step. Plain code: no sockets, no
// threads, no time. Belongs to one lane; not thread-safe.
//
// A chunk whose sums do not leave is sent whole instead, when its turn comes, so that what is held
// stays small: at most kMostSums buffers for each chunk and one copy, until they are written. Where
// there is no connection nothing waits: the next one begins with copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "common/base/buffer_pool.h"
#include "common/base/ids.h"
#include "common/wire/out_frame.h"
#include "server/chunk/partition_clocks.h"
#include "server/replica/chunk_copy.h"

namespace sheaf::server {

class Replication {
 public:
  static constexpr std::uint32_t kMostSums = 2;

  struct Chunk {
    std::uint32_t id;
    std::size_t elements;
  };
  // Fills in a copy of the n-th chunk as it is.
  using Fill = std::function<void(std::size_t n, ChunkCopy& into)>;
  Replication(const std::vector<Chunk>& chunks, const CopyShape& shape, Fill fill);

  void on_connected();
  void on_lost() { connected_ = false; }

  // The n-th chunk is to be sent whole.
  void copy(std::size_t n);
  // Whether the next step of the chunk goes as its sum.
  bool wants_sum(std::size_t n) const;
  // The chunk has taken a step: from version `before`, of that partition's push where pushes are
  // steps of their own. `sum`: its floats; without a buffer the values stayed the same.
  struct Taken {
    Version before = 0;
    std::optional<std::uint32_t> partition;
    double rate = 0;
    double gradient_scale = 0;
    double scalar = kNoScalar;  // that it was taken with
  };
  void step(std::size_t n, const Taken& taken, Buffer sum);

  std::optional<wire::OutFrame> next_frame();
  // All frames so far are written.
  void on_written();
  // The other one has something; the index of the chunk. Throws Fault::network if it cannot have.
  std::size_t on_replicated(const wire::Header& header);

  // What the other one has is taken to be so much: that many versions, and these clocks.
  void begin_at(std::size_t n, Version versions, const PartitionClocks& clocks);
  // Whether it has what such an init, push or end brings about.
  bool has(std::size_t n, const wire::Header& request) const;
  // Whether it has any version of the n-th chunk.
  bool knows(std::size_t n) const { return entries_[n].versions != 0; }
  // How many steps of a partition it has.
  Step clock(std::size_t n, std::uint32_t partition) const;
  // What one copy takes, in bytes.
  std::size_t memory_bound() const;

 private:
  struct Entry {
    Chunk chunk;
    Version versions = 0;     // that the other one has; the newest is one less
    PartitionClocks clocks;   // that it has; of one partition, and unused, if they follow
    bool copy_waits = false;  // in waiting_
    std::uint32_t sums_held = 0;
  };
  struct Waiting {
    std::size_t n;
    Version version;                         // after it
    std::optional<std::uint32_t> partition;  // whose clock advances
    bool copy;
    wire::OutFrame frame;  // not of a copy
  };
  struct Sent {
    std::size_t n;
    Version version;
    std::optional<std::uint32_t> partition;
    std::vector<Step> clocks;  // of a copy
  };
  wire::OutFrame begin_copy(std::size_t n);

  std::vector<Entry> entries_;
  const CopyShape shape_;
  Fill fill_;
  bool connected_ = false;
  bool said_whole_ = false;
  std::deque<Waiting> waiting_;
  std::deque<Sent> sent_;             // without an answer
  std::vector<std::size_t> writing_;  // chunks of the sums that are being written
  ChunkCopy copy_;                    // that is being sent
  CopySender sender_;
  bool copying_ = false;  // parts of it are not written yet
};

}  // namespace sheaf::server
