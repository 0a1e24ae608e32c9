// Writes what the lanes of a server hand over for checkpoints, on a thread of its own: a lane
// copies a chunk into a bounded buffer while it is warm and goes on; it waits only when the disk is
// so far behind that every buffer is full.
//
// Owns the buffers, the thread and the files under way (PartWriter). room() and ready() are called
// by lanes, the callbacks from the thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "server/checkpoint/part_writer.h"

namespace sheaf::server {

class Checkpointer {
 public:
  struct Options {
    PartWriter::Options part;
    std::size_t buffers = 4;  // chunks that wait for the disk at most
    // There is room again, after a room() that was empty.
    std::function<void()> on_room;
  };
  // `disk` outlives the object.
  Checkpointer(checkpoint::Disk& disk, Options options);
  // Files that are not whole are given up.
  ~Checkpointer() = default;

  // One chunk's room; empty if all are in use. REQUIRES: `floats` is no more than the largest chunk
  // and its state need.
  std::span<float> room(std::size_t floats);
  // See PartWriter.
  void name_base(Version version, Version base);
  // Lets go of what there is of a version, and of what is still handed over.
  void abandon(Version version);
  // That room, filled. Each chunk of the server once for each version.
  void ready(Version version, std::uint32_t chunk, std::span<float> room);

  // Bytes of the buffers.
  std::size_t memory() const;

 private:
  struct Item {
    Version version;
    std::uint32_t chunk;
    std::span<float> room;  // empty: the version is abandoned, or has that base
    std::optional<Version> base = {};
  };
  void put(const Item& item);
  void run(const std::stop_token& stop);
  void give_back(std::span<float> room);

  const std::function<void()> on_room_;
  std::vector<AlignedBuffer<float>> buffers_;
  PartWriter part_;  // the thread's own

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<float*> free_;  // guarded
  std::vector<Item> queue_;   // guarded
  bool wanted_ = false;       // guarded: a room() was empty
  std::jthread thread_;       // last, so that it ends before what it uses
};

}  // namespace sheaf::server
