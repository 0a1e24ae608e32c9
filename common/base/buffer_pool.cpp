#include "common/base/buffer_pool.h"

#include "common/base/error.h"

namespace sheaf {

Buffer BufferPool::take() {
  if (free_.empty()) {
    if (slots_.size() == limit_) {
      fail(Fault::internal, "memory bound reached: {} buffers of {} bytes are all in use", limit_,
           bytes_);
    }
    slots_.push_back(std::make_unique<Slot>(Slot{AlignedBuffer<std::byte>(bytes_), {}}));
    Slot& slot = *slots_.back();
    slot.block = {slot.memory.span(), this, false, 0};
    free_.reserve(slots_.size());
    return Buffer(slot.block);
  }
  Buffer::Block* block = free_.back();
  free_.pop_back();
  return Buffer(*block);
}

void BufferPool::returned(Buffer::Block& block) noexcept { free_.push_back(&block); }

}  // namespace sheaf
