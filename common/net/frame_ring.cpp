#include "common/net/frame_ring.h"

#include <bit>

#include "common/base/error.h"

namespace sheaf::net {

FrameRing::FrameRing(std::span<std::byte> memory, std::size_t capacity) : capacity_(capacity) {
  check(memory.size() >= bytes(capacity) && std::has_single_bit(capacity),
        "a ring fits its memory");
  ends_ = reinterpret_cast<Ends*>(memory.data());
  slots_ = reinterpret_cast<Slot*>(memory.data() + sizeof(Ends));
}

bool FrameRing::push(const RingFrame& frame) {
  if (mine_ - ends_->popped.load(std::memory_order_acquire) == capacity_) return false;
  slots_[mine_ % capacity_].frame = frame;
  ends_->pushed.store(++mine_, std::memory_order_release);
  return true;
}

bool FrameRing::pop(RingFrame& frame) {
  const std::uint64_t pushed = ends_->pushed.load(std::memory_order_acquire);
  if (pushed == mine_) return false;
  if (pushed - mine_ > capacity_) {
    fail(Fault::network, "shared ring: found {} frames waiting, expected at most {}",
         pushed - mine_, capacity_);
  }
  frame = slots_[mine_ % capacity_].frame;
  ends_->popped.store(++mine_, std::memory_order_release);
  return true;
}

bool FrameRing::must_wake(bool urgent) {
  // Our push before our look, its look before its sleep: one of the two sees the other.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return ends_->asleep.load(std::memory_order_relaxed) != 0 &&
         (urgent || mine_ >= ends_->wanted.load(std::memory_order_relaxed)) &&
         ends_->asleep.exchange(0, std::memory_order_relaxed) != 0;
}

}  // namespace sheaf::net
