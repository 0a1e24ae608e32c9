// How much a fuzz target may allocate from here on: a reader that trusts a length in its input asks
// for more than some times the input, and the process aborts. Only where AddressSanitizer tells of
// allocations; without it there is no budget beyond the fuzzer's own limit. One per program.
#pragma once

#include <cstddef>
#include <cstdlib>

// Of the sanitizer that the fuzzer runs with.
extern "C" __attribute__((weak)) int __sanitizer_install_malloc_and_free_hooks(
    void (*on_malloc)(const volatile void*, std::size_t), void (*on_free)(const volatile void*));

namespace sheaf::fuzz {

inline std::size_t budget = 0;  // bytes that may still be allocated; 0 = any number

inline void on_malloc(const volatile void*, std::size_t size) {
  if (budget == 0) return;
  if (size >= budget) std::abort();
  budget -= size;
}
inline void on_free(const volatile void*) {}

// To be called by LLVMFuzzerInitialize.
inline void watch_allocations() {
  if (__sanitizer_install_malloc_and_free_hooks != nullptr) {
    __sanitizer_install_malloc_and_free_hooks(&on_malloc, &on_free);
  }
}

}  // namespace sheaf::fuzz
