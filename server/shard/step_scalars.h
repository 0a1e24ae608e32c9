// One double per chunk and step, known to all lanes of all servers once every chunk has reported:
// what a mode needs that looks at the whole gradient at once (its norm). Values are summed in fp64
// in the order of chunk ids, so shard bounds never enter. Belongs to one lane; not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/bit_set.h"
#include "common/base/ids.h"

namespace sheaf::server {

class StepScalars {
 public:
  explicit StepScalars(std::size_t chunks);

  // Notes the value of one chunk; repeated and outdated ones are ignored. Two steps may be open.
  void add(Step step, std::uint32_t chunk, double value);
  // The sum over all chunks, once all are known.
  std::optional<double> total(Step step) const;
  // The chunks that have not reported, for the error that names who is waited for.
  std::vector<std::uint32_t> missing(Step step) const;

 private:
  struct Open {
    Step step = 0;
    BitSet known;
    std::vector<double> values;
  };
  std::array<Open, 2> open_;  // by the parity of the step
};

}  // namespace sheaf::server
