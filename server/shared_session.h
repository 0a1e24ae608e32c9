// A worker of this host that shares memory with the lane: requests come through a ring, pushes stay
// where the worker wrote them, and answers are headers without payload: the worker reads parameters
// where they lie or, where its answers are its own, where we write them in its memory. Beside it
// stands the worker's Session, whose connection proves who it is and says when it is gone. Owned by
// the lane; lives in the lane's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "common/cluster/shared_links.h"
#include "common/net/shared_memory.h"
#include "server/shard/shard.h"

namespace sheaf::server {

class SharedSession {
 public:
  struct Memory {
    net::SharedMemory links;
    net::SharedMemory outgoing;  // what the worker pushes; read only
    net::SharedMemory incoming;  // two vectors by the parity of the clock, if we write its answers
    std::size_t lane = 0;        // index of this lane in `links`
  };
  SharedSession(SessionId id, SessionId wire, Memory memory, const cluster::SharedLinks& links,
                Shard& shard);

  // Handles what has arrived; returns whether anything had. Throws when the worker breaks the
  // rules.
  bool poll();
  // An answer without a payload, with parameters, or with the set of partitions of a partial push.
  // What the ring does not take waits here until the worker has made room.
  void send(const wire::OutFrame& frame);
  // Wakes the worker if it was sent what it waits for.
  void ring();
  // The lane is going to sleep until a wake-up (and then polls once more), or is awake again.
  void ask_wake() { requests_.ask_wake(); }
  void stay_awake() { requests_.stay_awake(); }

  SessionId id() const { return id_; }
  SessionId wire() const { return wire_; }

 private:
  struct Answer {
    wire::Header header;
    std::vector<std::byte> bits;
  };
  void write(const wire::OutFrame& answer);
  bool put(const wire::Header& header, std::span<const std::byte> bits);
  bool put_waiting();  // returns whether the ring took anything

  SessionId id_;
  SessionId wire_;
  Memory memory_;
  Shard& shard_;
  net::FrameRing requests_;
  net::FrameRing answers_;
  net::Doorbell& bell_;
  // At most one for each frame of the ring: a worker has no more requests open.
  std::deque<Answer> waiting_;
  std::size_t at_ = 0;   // bytes of the oldest answer that is not complete which are in the ring
  bool sent_ = false;    // since the last ring()
  bool urgent_ = false;  // part of it was a partial push: others may wait for what is pushed again
  bool overrun_ = false;
};

}  // namespace sheaf::server
