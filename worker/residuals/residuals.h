// What the pushes of a worker have left out, partition by partition (error feedback): in memory of
// the host's keeper, which outlives the worker, or in its own.
//
// One of begin(), begin_without() and adopt(), then the training step reads and writes by of().
// Belongs to the compute thread, but for copy(), which may come from another one while no step is
// taken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/ids.h"
#include "common/cluster/keeper.h"
#include "common/net/shared_memory.h"
#include "common/params/chunk_map.h"
#include "worker/residuals/residual_slots.h"

namespace sheaf::worker {

class Residuals {
 public:
  struct Options {
    const params::ChunkMap& chunks;  // outlives the object
    PartitionRange hosted;
    std::size_t push_bytes = 0;     // the most of one encoded chunk
    std::uint32_t runs = 1;         // see ResidualSlots
    std::uint32_t incarnation = 0;  // of the worker
    // Of this host; null: the residuals end with the worker. Used while the object is made.
    cluster::KeeperClient* keeper = nullptr;
    std::function<void(const std::string&)> warn = {};  // if there is no room in the keeper's
  };
  explicit Residuals(const Options& options);
  Residuals(const Residuals&) = delete;
  Residuals& operator=(const Residuals&) = delete;

  // The incarnation whose residuals of all hosted partitions lie on this host.
  std::optional<std::uint32_t> left_by() const;
  // They are what `restore` says before step `first`, run by run, or nothing if it is null.
  using Restore = std::function<void(std::uint32_t partition, std::uint32_t run, std::size_t begin,
                                     std::span<float> values)>;
  void begin(Step first, const Restore& restore = {});
  // They are lost with the worker that was at step `first`: see ResidualSlots.
  void begin_without(Step first);
  // They are what left_by() has left. REQUIRES: that one has ended.
  void adopt();

  ResidualSlots& of(std::uint32_t partition) { return slots_[partition - options_.hosted.first]; }
  const params::ChunkMap& chunks() const { return options_.chunks; }
  std::uint32_t runs() const { return options_.runs; }
  PartitionRange hosted() const { return options_.hosted; }

  // What is left out before `step`: partition by partition, chunk by chunk, run by run.
  std::size_t floats() const {
    return std::size_t{options_.hosted.count} * options_.runs * options_.chunks.elements();
  }
  void copy(Step step, std::span<float> into) const;

 private:
  ResidualSlots::Shape shape(std::uint32_t partition) const;
  std::span<std::byte> memory(std::uint32_t partition);

  Options options_;
  std::vector<net::SharedMemory> shared_;
  std::vector<AlignedBuffer<std::byte>> own_;
  std::vector<ResidualSlots> slots_;  // of each hosted partition
};

}  // namespace sheaf::worker
