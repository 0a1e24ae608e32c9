// Memory that processes of one host share: a memfd, sealed in its size, without a name anywhere. It
// lives as long as somebody holds its descriptor or a mapping, and is gone when the last process
// that does has ended, however it ended.
// Owns descriptor and mapping; movable. What the mapping holds is synchronised by its users.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "common/base/descriptor.h"

namespace sheaf::net {

using sheaf::Descriptor;

// Bytes that this host, and the control groups of this process, could still give without swapping;
// the largest number if nobody says. To ask for more would not fail: the kernel ends processes
// until it fits.
std::size_t available_memory();

class SharedMemory {
 public:
  enum class Access { read, write };

  SharedMemory() = default;
  // New memory, all zero, reserved at once: a full machine is an error here, not a crash later.
  // `name` is what /proc shows. Throws Fault::internal saying why not.
  static SharedMemory create(const std::string& name, std::size_t bytes);
  // Maps what another process made. Throws Fault::network if it is not sealed memory of `bytes`.
  static SharedMemory map(Descriptor descriptor, std::size_t bytes, Access access);

  SharedMemory(SharedMemory&& other) noexcept { swap(other); }
  SharedMemory& operator=(SharedMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~SharedMemory();

  explicit operator bool() const { return !bytes_.empty(); }
  std::span<std::byte> bytes() const { return bytes_; }
  std::span<float> floats() const {
    return {reinterpret_cast<float*>(bytes_.data()), bytes_.size() / sizeof(float)};
  }
  // Of memory that create() made; a mapping keeps none.
  const Descriptor& descriptor() const { return descriptor_; }

 private:
  void swap(SharedMemory& other) {
    std::swap(descriptor_, other.descriptor_);
    std::swap(bytes_, other.bytes_);
  }
  Descriptor descriptor_;
  std::span<std::byte> bytes_;
};

}  // namespace sheaf::net
