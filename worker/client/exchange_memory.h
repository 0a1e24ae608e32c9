// The memory of a worker's exchange: workspaces from which gradients are pushed, two parameter
// vectors by the parity of their clock and, where the host shares memory, the rings to its lanes.
// All of it is the worker's own, or lies in files that the keeper of the host hands out by name.
//
// share(), an offer() to each lane, place(); then its spans are fixed. Owned by PushPull, whose
// threads read and write what the spans name; the object itself belongs to the compute thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "common/base/aligned_buffer.h"
#include "common/base/clock.h"
#include "common/cluster/keeper.h"
#include "common/cluster/shared_links.h"
#include "common/net/connection.h"
#include "common/params/chunk_map.h"
#include "common/params/shard_map.h"
#include "common/wire/handshake.h"

namespace sheaf::worker {

class ExchangeMemory {
 public:
  struct Options {
    std::size_t workspaces = 1;
    std::size_t workspace_bytes = 0;  // of each; 0: the parameters as floats
    // All workers read the same versions, where servers write them. Otherwise every pull may have
    // an answer of its own, which lanes that share memory write into ours.
    bool synchronous = true;
    std::function<void(const std::string&)> warn;
  };
  // The maps outlive the object.
  ExchangeMemory(Options options, const params::ChunkMap& chunks, const params::ShardMap& shards);

  // From the keeper of this host, which outlives the object, in the name of `self`. Warns if it
  // cannot be had: then nothing is shared.
  void share(cluster::KeeperClient& keeper, const wire::Identity& self);
  bool shared() const { return static_cast<bool>(links_memory_); }

  // What goes between this worker and one lane that shares its memory. A worker leaves at most as
  // many requests without an answer as a ring has frames.
  struct Lane {
    net::FrameRing requests;
    net::FrameRing answers;
    net::Descriptor wake;  // of the lane
  };
  // Over a connection that has proved the key: shared memory between those who know each other.
  // Nothing if the lane does not share. Throws Fault::network if it does not answer within `limit`.
  // REQUIRES: shared().
  net::Task<std::optional<Lane>> offer(net::Connection& connection, params::LaneId lane,
                                       Duration limit);

  // Makes the rings of a lane empty. REQUIRES: its server has ended, and nobody else uses them.
  void clear_rings(params::LaneId lane) { links_.clear(shards_.index(lane)); }

  // Parameters are read where the servers write them (`in_place`, if all lanes share memory), or
  // gathered in vectors of our own.
  void place(bool in_place);

  std::span<std::byte> workspace(std::size_t index) const {
    return outgoing_.subspan(index * stride_, options_.workspace_bytes);
  }
  std::span<const float> parameters(Step clock) const { return vectors_[clock % 2]; }
  // Where the values of a chunk are received; empty if they are read where they lie.
  std::span<float> own(std::uint32_t chunk, Step clock) {
    const std::span<float> all = own_[clock % 2];
    return all.empty() ? all : all.subspan(chunks_[chunk].offset, chunks_[chunk].size);
  }
  // Copies a chunk that a lane has written to shared memory to where parameters are read, unless
  // that is where they lie.
  void gather(std::uint32_t chunk, Step clock);
  // Where lanes that share this memory find a payload; nothing if they do not see it.
  std::optional<std::uint64_t> seen_at(std::span<const std::byte> payload) const {
    const auto all = outgoing_memory_.bytes();
    if (payload.data() < all.data() || payload.data() >= all.data() + all.size()) return {};
    return static_cast<std::uint64_t>(payload.data() - all.data());
  }
  // Rung when something has changed for the compute thread, by lanes of this host, too.
  net::Doorbell& bell() { return *bell_; }

 private:
  std::size_t outgoing_bytes() const { return options_.workspaces * stride_; }
  std::span<float> shared_vector(Step clock) const;
  std::optional<net::Descriptor> wake_of(params::LaneId lane);
  net::Task<wire::ShareStatus> ask_to_share(net::Connection& connection, params::LaneId lane,
                                            Duration limit) const;

  Options options_;
  const params::ChunkMap& chunks_;
  const params::ShardMap& shards_;
  cluster::KeeperClient* keeper_ = nullptr;
  std::size_t stride_ = 0;  // of workspaces, in bytes
  std::size_t ring_frames_ = 0;
  net::SharedMemory links_memory_;
  net::SharedMemory outgoing_memory_;
  net::SharedMemory parameters_memory_;  // of the servers, or written by them for us alone
  cluster::SharedLinks links_;
  AlignedBuffer<std::byte> own_outgoing_;
  std::array<AlignedBuffer<float>, 2> own_vectors_;
  std::array<std::span<float>, 2> own_;  // where answers are gathered, if anywhere
  std::span<std::byte> outgoing_;
  std::array<std::span<const float>, 2> vectors_;
  net::Doorbell own_bell_;
  net::Doorbell* bell_ = &own_bell_;
};

}  // namespace sheaf::worker
