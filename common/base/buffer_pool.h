// Counted references to blocks of memory: received pushes, partial sums, published parameters. The
// last Buffer of a block gives it back to whoever owns it: a BufferPool, which uses it again, or a
// lender, whose memory it was all the time.
//
// The owner outlives every Buffer of its blocks. All of it belongs to one thread (a lane): nothing
// here is thread-safe, and a Buffer never leaves its thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "common/base/aligned_buffer.h"

namespace sheaf {

class Buffer {
 public:
  struct Block;
  class Owner {
   public:
    virtual ~Owner() = default;
    // The last reference is gone. Must not throw: it may be a destructor that gave it up.
    virtual void returned(Block& block) noexcept = 0;
  };
  struct Block {
    std::span<std::byte> memory;
    Owner* owner = nullptr;
    bool lent = false;  // somebody else's: it may be read, never written
    std::uint32_t references = 0;
  };

  Buffer() = default;
  explicit Buffer(Block& block) : block_(&block) { ++block.references; }
  Buffer(const Buffer& other) : block_(other.block_) {
    if (block_) ++block_->references;
  }
  Buffer(Buffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Buffer() {
    if (block_ && --block_->references == 0) block_->owner->returned(*block_);
  }
  explicit operator bool() const { return block_ != nullptr; }
  bool lent() const { return block_->lent; }
  const Block& block() const { return *block_; }
  std::span<std::byte> bytes() const { return block_->memory; }
  // The first `count` floats.
  std::span<float> floats(std::size_t count) const {
    return {reinterpret_cast<float*>(block_->memory.data()), count};
  }

 private:
  Block* block_ = nullptr;
};

// Equal blocks. After the first steps it allocates nothing.
class BufferPool final : public Buffer::Owner {
 public:
  // At most `limit` buffers of `bytes` each.
  BufferPool(std::size_t bytes, std::size_t limit) : bytes_(bytes), limit_(limit) {}
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // A buffer with undefined content. Throws Fault::internal beyond the limit: the bound that was
  // printed at the start is a promise.
  Buffer take();
  void returned(Buffer::Block& block) noexcept override;

  std::size_t buffer_bytes() const { return bytes_; }
  std::size_t allocated() const { return slots_.size(); }  // buffers, free ones included

 private:
  struct Slot {
    AlignedBuffer<std::byte> memory;
    Buffer::Block block;
  };
  std::size_t bytes_;
  std::size_t limit_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Buffer::Block*> free_;
};

}  // namespace sheaf
