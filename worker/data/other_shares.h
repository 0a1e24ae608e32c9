// The examples of partitions that other workers host, read when they are first asked for: in a
// thread of their own, so that nobody waits for them. Kept from then on. find() belongs to one
// thread; the destructor waits for what is being read.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "worker/data/partition.h"

namespace sheaf::worker {

class OtherShares {
 public:
  // Reads a share; the preparation is done by the caller of find(), the rest in another thread.
  using Load = std::function<std::unique_ptr<PartitionSet>()>;
  using Prepare = std::function<Load(PartitionRange share)>;
  struct Options {
    Prepare prepare;
    std::function<void()> on_loaded;                // from that thread
    std::function<void(const std::string&)> say{};  // what is kept now, or why it cannot be
  };
  explicit OtherShares(Options options) : options_(std::move(options)) {}

  // Null while it is being read, and if it cannot be.
  const PartitionSet* find(PartitionRange share);

 private:
  struct Share {
    std::unique_ptr<PartitionSet> data;  // guarded by mutex_ until it is there
    std::jthread reading;
  };
  void read(Share& share, PartitionRange partitions, const Load& load);

  const Options options_;
  std::mutex mutex_;
  std::map<std::uint32_t, Share> shares_;  // by the first partition
};

}  // namespace sheaf::worker
