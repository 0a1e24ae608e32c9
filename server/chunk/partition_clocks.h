// How many steps of each partition a chunk has: what makes a push count once, whoever sends it and
// however often. Belongs to one lane; not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/base/ids.h"

namespace sheaf::server {

class PartitionClocks {
 public:
  explicit PartitionClocks(std::uint32_t partitions) : clocks_(partitions, 0) {}

  // How a push of `step` for these partitions meets what is here.
  enum class Offer : std::uint8_t {
    next,         // it is the next step of all of them
    contained,    // all of it is here
    overlapping,  // some of it is
    ahead,        // a step before it is missing
  };
  Offer offer(PartitionRange partitions, Step step) const;
  bool has(std::uint32_t partition, Step step) const { return clocks_[partition] > step; }

  // They have finished one more step.
  void advance(PartitionRange partitions);
  // It has finished so many, or the others go on without it.
  void pass(std::uint32_t partition, Step clock);
  // Everybody has finished so many.
  void set_all(Step clock);
  // All of them, to memory that outlives us and from there.
  void write(std::span<Step> into) const;
  void read(std::span<const Step> from);

  Step slowest() const { return slowest_; }
  Step fastest() const;
  // Among these partitions; of none the largest number there is.
  Step slowest(PartitionRange partitions) const;
  // Whether all have finished as many.
  bool level() const { return at_slowest_ == clocks_.size(); }
  bool any_beyond(Step clock) const;

 private:
  void find_slowest();

  std::vector<Step> clocks_;
  Step slowest_ = 0;
  std::size_t at_slowest_ = clocks_.size();  // partitions
};

}  // namespace sheaf::server
