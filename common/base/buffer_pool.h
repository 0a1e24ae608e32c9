// Equal buffers that are borrowed, shared and given back: received pushes, partial sums, published
// parameters. A Buffer is a counted reference; the last one returns the memory to its pool. After
// the first steps a pool allocates nothing.
//
// The pool owns the memory and must outlive every Buffer. One pool belongs to one thread (a lane):
// neither class is thread-safe, and a Buffer never leaves its thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "common/base/aligned_buffer.h"

namespace sheaf {

class BufferPool {
  struct Slot {
    AlignedBuffer<std::byte> memory;
    BufferPool* pool;
    std::uint32_t references = 0;
  };

 public:
  class Buffer {
   public:
    Buffer() = default;
    Buffer(const Buffer& other) : slot_(other.slot_) {
      if (slot_) ++slot_->references;
    }
    Buffer(Buffer&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
    Buffer& operator=(Buffer other) noexcept {
      std::swap(slot_, other.slot_);
      return *this;
    }
    ~Buffer() {
      if (slot_ && --slot_->references == 0) slot_->pool->free_.push_back(slot_);
    }
    explicit operator bool() const { return slot_ != nullptr; }
    std::span<std::byte> bytes() const { return slot_->memory.span(); }
    // The first `count` floats.
    std::span<float> floats(std::size_t count) const {
      return {reinterpret_cast<float*>(slot_->memory.data()), count};
    }

   private:
    friend class BufferPool;
    explicit Buffer(Slot* slot) : slot_(slot) { ++slot_->references; }
    Slot* slot_ = nullptr;
  };

  // At most `limit` buffers of `bytes` each.
  BufferPool(std::size_t bytes, std::size_t limit) : bytes_(bytes), limit_(limit) {}
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // A buffer with undefined content. Throws Fault::internal beyond the limit: the bound that was
  // printed at the start is a promise.
  Buffer take();

  std::size_t buffer_bytes() const { return bytes_; }
  std::size_t allocated() const { return slots_.size(); }  // buffers, free ones included

 private:
  std::size_t bytes_;
  std::size_t limit_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;
};

using Buffer = BufferPool::Buffer;

}  // namespace sheaf
