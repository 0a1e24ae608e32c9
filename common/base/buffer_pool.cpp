#include "common/base/buffer_pool.h"

#include "common/base/error.h"

namespace sheaf {

BufferPool::Buffer BufferPool::take() {
  if (free_.empty()) {
    if (slots_.size() == limit_) {
      fail(Fault::internal, "memory bound reached: {} buffers of {} bytes are all in use", limit_,
           bytes_);
    }
    slots_.push_back(std::make_unique<Slot>(Slot{AlignedBuffer<std::byte>(bytes_), this}));
    free_.reserve(slots_.size());
    return Buffer(slots_.back().get());
  }
  Slot* slot = free_.back();
  free_.pop_back();
  return Buffer(slot);
}

}  // namespace sheaf
