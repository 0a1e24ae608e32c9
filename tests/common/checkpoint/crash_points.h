// Every moment at which a machine can crash while something is done to a disk. For several tests.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/common/checkpoint/watched_disk.h"

namespace sheaf::checkpoint {

struct Moment {
  std::string before;  // this operation
  VirtualDisk disk;
  bool committed;
};

// The disk before each operation of `action`, and at the end. The action may set `committed`.
template <typename Action>
std::vector<Moment> watch(VirtualDisk& disk, bool& committed, const Action& action) {
  std::vector<Moment> all;
  WatchedDisk watched(disk, [&](const Operation& operation) {
    if (!operation.changes) return;
    all.push_back({fmt::format("{} {}", operation.name, operation.path.string()), disk, committed});
  });
  action(watched);
  all.push_back({"nothing", disk, committed});
  return all;
}

}  // namespace sheaf::checkpoint
