// Frames from one process to another through memory that both map: a ring of headers with one
// writer and one reader. Payloads stay where they lie; a header says where. Nothing is copied but
// 64 bytes, and no system call is made.
//
// The memory belongs to somebody else and outlives the object; all zero is an empty ring. One side
// constructs a FrameRing to push, the other one to pop; each belongs to one thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/wire/frame.h"

namespace sheaf::net {

struct RingFrame {
  wire::Header header;
  std::uint64_t at = 0;  // where the payload lies, in memory that both know; or what a type says
};

class FrameRing {
 public:
  static std::size_t bytes(std::size_t capacity) { return sizeof(Ends) + capacity * sizeof(Slot); }

  // Nothing can be done with it.
  FrameRing() = default;
  // REQUIRES: bytes(capacity) of memory on a cache line; capacity is a power of two.
  FrameRing(std::span<std::byte> memory, std::size_t capacity);
  std::size_t capacity() const { return capacity_; }

  // False if the ring is full.
  bool push(const RingFrame& frame);
  // False if the ring is empty. Throws Fault::network if the other side has damaged the ring.
  bool pop(RingFrame& frame);

  // The reader is about to sleep and asks to be woken when it has `frames` more: before that it has
  // nothing to do, and a wake-up costs the writer more than many frames do. It looks once more
  // before it sleeps.
  void ask_wake(std::size_t frames = 1) {
    ends_->wanted.store(mine_ + frames, std::memory_order_relaxed);
    ends_->asleep.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  void stay_awake() { ends_->asleep.store(0, std::memory_order_relaxed); }
  // After push(): true, once, if the reader has to be woken. `urgent`: however few frames it has.
  bool must_wake(bool urgent = false);

 private:
  struct Ends {
    alignas(64) std::atomic<std::uint64_t> pushed;
    alignas(64) std::atomic<std::uint64_t> popped;
    alignas(64) std::atomic<std::uint64_t> wanted;  // frames pushed when the reader can go on
    std::atomic<std::uint32_t> asleep;
  };
  struct alignas(64) Slot {
    RingFrame frame;
  };
  static_assert(sizeof(Slot) == 64, "a frame is one cache line");

  Ends* ends_ = nullptr;
  Slot* slots_ = nullptr;
  std::uint64_t capacity_ = 0;
  std::uint64_t mine_ = 0;  // frames that this side has pushed or popped
};

}  // namespace sheaf::net
