// The names of things that cross a process boundary. Plain values, no behaviour.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace sheaf {

using Step = std::uint64_t;     // a partition's own count of training steps, from 0
using Version = std::uint64_t;  // of a chunk: how many steps were applied to it; 0 = initial values

// A client is a command that asks the coordinator of a running job; it takes no part in the job.
enum class Role : std::uint8_t { coordinator = 1, server = 2, worker = 3, client = 4 };

constexpr std::string_view to_string(Role role) {
  switch (role) {
    case Role::coordinator: return "coordinator";
    case Role::server: return "server";
    case Role::worker: return "worker";
    case Role::client: return "client";
  }
  return "unknown";
}

struct ProcessId {
  Role role = Role::worker;
  std::uint32_t id = 0;
  auto operator<=>(const ProcessId&) const = default;
};

inline std::string to_string(ProcessId process) {
  if (process.role == Role::coordinator) return "coordinator";
  return std::string(to_string(process.role)) + " " + std::to_string(process.id);
}

// Partitions [first, first + count).
struct PartitionRange {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  std::uint32_t end() const { return first + count; }
  bool contains(std::uint32_t partition) const { return partition >= first && partition < end(); }
  auto operator<=>(const PartitionRange&) const = default;
};

// Tables beside the vector have ids from 1 on; the flat parameter vector is table 0.
inline constexpr std::uint32_t kVectorTable = 0;

}  // namespace sheaf
