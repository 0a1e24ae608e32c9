// A model of which only some chunks change between two checkpoints, and the checkpoints of it that
// any number of servers would write, each naming what an older one has.
#pragma once

#include <optional>
#include <vector>

#include "tests/common/checkpoint/sample.h"

namespace sheaf::checkpoint {

struct Increments {
  // `chunks` of 256 elements and one run of state.
  explicit Increments(std::uint32_t chunks);

  // All values of these chunks are those of that step from now on; see value_of().
  void change(const std::vector<std::uint32_t>& ids, Step step);
  // What a server has of the checkpoint, with what that of `base` has.
  Part write(Disk& disk, Step step, std::uint32_t server, std::optional<Step> base) const;
  // The parts of all servers, not committed.
  Manifest write(Disk& disk, Step step, std::optional<Step> base) const;
  // A whole checkpoint, in the order of FORMAT.md.
  Manifest save(Disk& disk, Step step, std::optional<Step> base) const;
  // What a checkpoint has to hold that was written now.
  const std::vector<Step>& changed() const { return changed_; }

  std::uint32_t servers = 2;
  Sample sample;  // layout and chunks

 private:
  std::vector<Step> changed_;  // when each chunk changed last
};

// Reads it from the disk, and compares every value. `changed`: of each chunk.
bool holds(Disk& disk, const Manifest& manifest, const std::vector<Step>& changed);

// Bytes of the files that it names, whole.
std::uint64_t file_bytes(const Manifest& manifest);

}  // namespace sheaf::checkpoint
