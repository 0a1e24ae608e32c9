// An array of trivially copyable values on a 64-byte boundary (a cache line, an AVX-512 vector).
// Owns its memory, is movable, never grows. Not thread-safe beyond what its elements are.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

namespace sheaf {

template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(T* memory) const { ::operator delete(memory, kAlignment); }
  };

 public:
  AlignedBuffer() = default;
  // Allocates `size` elements, all zero.
  explicit AlignedBuffer(std::size_t size)
      : memory_(size ? static_cast<T*>(::operator new(size * sizeof(T), kAlignment)) : nullptr),
        size_(size) {
    if (size) std::memset(static_cast<void*>(memory_.get()), 0, size * sizeof(T));
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : memory_(std::move(other.memory_)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  T* data() { return memory_.get(); }
  const T* data() const { return memory_.get(); }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return memory_.get()[i]; }
  const T& operator[](std::size_t i) const { return memory_.get()[i]; }
  std::span<T> span() { return {data(), size_}; }
  std::span<const T> span() const { return {data(), size_}; }
  std::span<T> first(std::size_t n) { return span().first(n); }
  std::span<const T> first(std::size_t n) const { return span().first(n); }

 private:
  std::unique_ptr<T, Free> memory_;
  std::size_t size_ = 0;
};

}  // namespace sheaf
