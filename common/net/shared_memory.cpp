#include "common/net/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>

#include "common/base/error.h"

namespace sheaf::net {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();

// The number in a file of one; kAny if there is none ("max").
std::size_t number_in(const std::string& path) {
  std::ifstream file(path);
  std::size_t number = 0;
  return file >> number ? number : kAny;
}

// Pages of files that a control group counts and would give back.
std::size_t file_bytes(const std::string& statistics) {
  std::ifstream file(statistics);
  std::string word;
  std::size_t sum = 0;
  for (std::size_t number = 0; file >> word >> number;) {
    if (word == "inactive_file" || word == "active_file") sum += number;
  }
  return sum;
}

// What the control group of this process, and those above it, may still take.
std::size_t group_bytes() {
  std::size_t least = kAny;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const bool second = line.starts_with("0::");
    const std::size_t at = line.find(":memory:");
    if (!second && at == std::string::npos) continue;
    const std::string root = second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    for (std::string path = line.substr(second ? 3 : at + 8);; path.resize(path.rfind('/'))) {
      const std::string folder = root + path + "/memory.";
      const std::size_t limit = number_in(folder + (second ? "max" : "limit_in_bytes"));
      const std::size_t used = number_in(folder + (second ? "current" : "usage_in_bytes"));
      if (limit != kAny && used != kAny) {
        const std::size_t taken = used - std::min(used, file_bytes(folder + "stat"));
        least = std::min(least, limit - std::min(limit, taken));
      }
      if (path.rfind('/') == std::string::npos) break;
    }
  }
  return least;
}

std::span<std::byte> map_bytes(const Descriptor& descriptor, std::size_t bytes, int protection) {
  void* memory = ::mmap(nullptr, bytes, protection, MAP_SHARED, descriptor.get(), 0);
  if (memory == MAP_FAILED) {
    fail(Fault::internal, "mapping {} bytes of shared memory: {}", bytes, std::strerror(errno));
  }
  return {static_cast<std::byte*>(memory), bytes};
}

}  // namespace

std::size_t available_memory() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("MemAvailable:")) continue;
    const std::size_t kib = std::strtoul(line.c_str() + 13, nullptr, 10);
    return std::min(group_bytes(), 1024 * kib);
  }
  return kAny;
}

SharedMemory SharedMemory::create(const std::string& name, std::size_t bytes) {
  const std::size_t available = available_memory();
  if (bytes > available - available / 8) {
    fail(Fault::internal, "reserving {} bytes of shared memory for {}: this host has {} left",
         bytes, name, available);
  }
  SharedMemory memory;
  memory.descriptor_ = Descriptor(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const int fd = memory.descriptor_.get();
  int reserved = fd < 0 ? errno : EINTR;
  while (reserved == EINTR) reserved = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  if (reserved != 0) {
    fail(Fault::internal, "reserving {} bytes of shared memory for {}: {}", bytes, name,
         std::strerror(reserved));
  }
  if (::fcntl(fd, F_ADD_SEALS, kSeals) != 0) {
    fail(Fault::internal, "sealing the shared memory for {}: {}", name, std::strerror(errno));
  }
  memory.bytes_ = map_bytes(memory.descriptor_, bytes, PROT_READ | PROT_WRITE);
  return memory;
}

SharedMemory SharedMemory::map(Descriptor descriptor, std::size_t bytes, Access access) {
  struct stat status{};
  const bool known = ::fstat(descriptor.get(), &status) == 0;
  const int seals = ::fcntl(descriptor.get(), F_GET_SEALS);
  if (!known || seals < 0 || (seals & F_SEAL_SHRINK) == 0 ||
      status.st_size != static_cast<off_t>(bytes)) {
    fail(Fault::network, "shared memory: found {} bytes{}, expected {} sealed bytes",
         known ? status.st_size : 0, seals < 0 ? " that are no memory file" : "", bytes);
  }
  SharedMemory memory;
  memory.bytes_ =
      map_bytes(descriptor, bytes, access == Access::read ? PROT_READ : PROT_READ | PROT_WRITE);
  return memory;
}

SharedMemory::~SharedMemory() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace sheaf::net
