// A coroutine that moves bytes for the whole life of a connection: its frame and the memory of its
// asynchronous operations are allocated once, at its start. (asio::awaitable allocates a frame for
// every operation; that is fine for a handshake, not for a chunk.)
//
// One operation is under way at a time. The owner keeps the Loop until it has ended, and runs it on
// one thread.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <new>
#include <utility>

#include "common/net/asio.h"

namespace sheaf::net {

// Memory for the one operation that is under way.
class OperationMemory {
 public:
  void* allocate(std::size_t size) {
    if (!used_ && size <= sizeof storage_) {
      used_ = true;
      return storage_;
    }
    return ::operator new(size);
  }
  void deallocate(void* memory) {
    if (memory == storage_) {
      used_ = false;
    } else {
      ::operator delete(memory);
    }
  }

 private:
  alignas(std::max_align_t) std::byte storage_[1024];
  bool used_ = false;
};

template <typename T>
struct OperationAllocator {
  using value_type = T;
  OperationMemory* memory;
  explicit OperationAllocator(OperationMemory* m) : memory(m) {}
  template <typename U>
  OperationAllocator(const OperationAllocator<U>& other) : memory(other.memory) {}  // NOLINT
  T* allocate(std::size_t n) { return static_cast<T*>(memory->allocate(n * sizeof(T))); }
  void deallocate(T* p, std::size_t) { memory->deallocate(p); }
  bool operator==(const OperationAllocator& other) const { return memory == other.memory; }
};

class Loop {
 public:
  struct promise_type {
    std::function<void(std::exception_ptr)> ended;
    std::exception_ptr error;

    Loop get_return_object() {
      return Loop(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    struct Final {
      bool await_ready() noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> self) noexcept {
        self.promise().ended(self.promise().error);
      }
      void await_resume() noexcept {}
    };
    Final final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { error = std::current_exception(); }
  };

  Loop() = default;
  Loop(Loop&& other) noexcept : self_(std::exchange(other.self_, nullptr)) {}
  Loop& operator=(Loop&& other) noexcept {
    std::swap(self_, other.self_);
    return *this;
  }
  ~Loop() {
    if (self_) self_.destroy();
  }

  // Runs to the first operation. `ended` is called when it has returned or thrown; it must not
  // destroy the Loop itself.
  void start(std::function<void(std::exception_ptr)> ended) {
    self_.promise().ended = std::move(ended);
    self_.resume();
  }

 private:
  explicit Loop(std::coroutine_handle<promise_type> self) : self_(self) {}
  std::coroutine_handle<promise_type> self_;
};

// co_await of one operation within a Loop. `Initiate` is called with a handler of (error, bytes).
template <typename Initiate>
class Operation {
 public:
  struct Result {
    ErrorCode error;
    std::size_t bytes = 0;
  };
  struct Handler {
    Operation* operation;
    using allocator_type = OperationAllocator<std::byte>;
    allocator_type get_allocator() const { return allocator_type(operation->memory_); }
    void operator()(const ErrorCode& error, std::size_t bytes = 0) const {
      operation->result_ = {error, bytes};
      operation->waiting_.resume();
    }
  };

  Operation(OperationMemory& memory, Initiate initiate)
      : memory_(&memory), initiate_(std::move(initiate)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    initiate_(Handler{this});
  }
  Result await_resume() const noexcept { return result_; }

 private:
  OperationMemory* memory_;
  Initiate initiate_;
  std::coroutine_handle<> waiting_;
  Result result_;
};

}  // namespace sheaf::net
