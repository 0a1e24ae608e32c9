// A worker's conversation with a lane that shares memory with it: the compute thread itself leaves
// requests in a ring and reads the answers from another one; no thread and no socket stands
// between. What the conversation means is the Exchange's, as over the network.
// Where its server is lost, the thread of the lane's connection suspends it, and resumes it with
// the next one: until then requests only gather in the Exchange.
// Belongs to the compute thread, but for suspend() and resume(): a lock that is nearly always free.
// Owned by PushPull.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "worker/client/exchange.h"
#include "worker/client/exchange_memory.h"
#include "worker/client/push_pull.h"

namespace sheaf::worker {

class SharedLane final : public ExchangeEvents {
 public:
  SharedLane(PushPull& owner, params::LaneId lane, ExchangeMemory::Lane shared);

  // REQUIRES: the payload lies in shared memory.
  void push(Step step, std::uint32_t chunk, PartitionRange partitions, std::uint64_t examples,
            std::span<const std::byte> payload, Exchange::Lend lend);
  void end(Step step, PartitionRange partitions, std::uint64_t examples);
  void pull(Step clock, std::uint32_t chunk, std::span<float> into);
  // Sends what was asked for since the last time, and wakes the lane at most once for it.
  void flush();
  // Handles the answers that are there; returns whether there were any.
  bool poll();
  // The compute thread is about to sleep (and polls once more before it does) until an answer has
  // come or, where it waits for acknowledgements, as many answers as pushes lack one; or is awake
  // again.
  void ask_wake(PushPull::Awaited what);
  void stay_awake();

  // From the thread of its connection. The rings are touched no more; they are new, and everything
  // without an answer is sent again.
  void suspend();
  void resume(ExchangeMemory::Lane shared);
  // How many requests that was.
  std::size_t sent_again() const;

  wire::Traffic traffic() const;
  std::optional<wire::Header> oldest() const;

  // ExchangeEvents
  void on_arrived(std::uint32_t chunk, Step clock, Version version, std::size_t bytes) override;
  void on_superseded(std::uint32_t chunk) override;
  void on_settled(const wire::Header& request) override;
  void on_partial(const wire::Header& request, std::span<const std::uint32_t> missing) override;

 private:
  void send();
  void wake_lane(bool urgent = false);

  PushPull& owner_;
  mutable std::mutex mutex_;  // of all that follows
  bool suspended_ = false;
  std::size_t sent_again_ = 0;
  ExchangeMemory::Lane shared_;
  Exchange exchange_;
  bool unsent_ = false;             // something was asked for since the last flush
  std::size_t open_ = 0;            // requests sent without an answer
  std::size_t unsettled_ = 0;       // pushes and ends, sent or not, without an answer
  std::vector<std::byte> missing_;  // of a partial push whose answer is not complete
  wire::Traffic traffic_;
};

}  // namespace sheaf::worker
