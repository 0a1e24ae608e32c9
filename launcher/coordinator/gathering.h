// What workers contribute for their partitions under a tag, gathered until it is there for all P
// partitions: then the sum over the partition tree, in fp64, or the lists one after the other. Both
// are by partition, so who contributed for which, and when, does not show.
// Owned by the coordinator; not thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/wire/messages.h"

namespace sheaf::launcher {

class Gathering {
 public:
  explicit Gathering(std::uint32_t partitions) : partitions_(partitions) {}

  struct Whole {
    std::string tag;
    bool sum = true;  // else the lists, ascending by partition
    std::vector<double> values;
  };
  // The whole, if this completes it. What comes again for a partition replaces what was there; what
  // comes for a tag that is complete changes nothing. Throws Fault::network if it does not fit: a
  // partition that the job does not have, vectors to sum of unequal lengths, a sum under the tag of
  // lists.
  std::optional<Whole> add(ProcessId from, wire::Contribution contribution);
  // The sum of a tag that is complete: for a worker that takes the place of one that had it.
  const std::vector<double>* sum_of(const std::string& tag) const;

 private:
  struct Open {
    bool sum = true;
    std::map<std::uint32_t, std::vector<double>> values;  // by partition
  };
  std::uint32_t partitions_;
  std::map<std::string, Open> open_;                  // by tag
  std::map<std::string, std::vector<double>> whole_;  // of sums; of lists nobody asks for: empty
};

}  // namespace sheaf::launcher
