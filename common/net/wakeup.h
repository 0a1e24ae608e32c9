// Runs a function in an io_context's thread soon after notify(), which any thread may call. Calls
// before it runs are folded into one. Notifying allocates nothing.
// Owned by whoever owns the io_context's work; must outlive the context's run().
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <new>

#include "common/net/asio.h"

namespace sheaf::net {

class Wakeup {
 public:
  Wakeup(asio::io_context& context, std::function<void()> run)
      : context_(context), run_(std::move(run)) {}
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  void notify() {
    if (!pending_.exchange(true, std::memory_order_acq_rel)) asio::post(context_, Handler{this});
  }

 private:
  // At most one handler is queued, so its memory can be part of this object.
  template <typename T>
  struct Allocator {
    using value_type = T;
    Wakeup* owner;
    explicit Allocator(Wakeup* o) : owner(o) {}
    template <typename U>
    Allocator(const Allocator<U>& other) : owner(other.owner) {}  // NOLINT: rebinding
    T* allocate(std::size_t n) {
      const bool fits = n * sizeof(T) <= sizeof owner->memory_ && alignof(T) <= kAlignment;
      if (fits && !owner->used_.exchange(true)) return reinterpret_cast<T*>(owner->memory_);
      return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{kAlignment}));
    }
    void deallocate(T* memory, std::size_t) {
      if (reinterpret_cast<std::byte*>(memory) == owner->memory_) {
        owner->used_.store(false);
      } else {
        ::operator delete(memory, std::align_val_t{kAlignment});
      }
    }
    bool operator==(const Allocator& other) const { return owner == other.owner; }
  };
  struct Handler {
    Wakeup* owner;
    using allocator_type = Allocator<void*>;
    allocator_type get_allocator() const { return allocator_type(owner); }
    void operator()() const {
      owner->pending_.store(false, std::memory_order_release);
      owner->run_();
    }
  };

  static constexpr std::size_t kAlignment = 64;
  asio::io_context& context_;
  std::function<void()> run_;
  std::atomic<bool> pending_{false};
  std::atomic<bool> used_{false};
  alignas(kAlignment) std::byte memory_[256];
};

}  // namespace sheaf::net
