// One double per chunk and step, known to all lanes of all servers once every chunk has reported:
// what a mode needs that looks at the whole gradient at once (its norm). Values are summed in fp64
// in the order of chunk ids, so shard bounds never enter. Whoever has taken the step may say the
// sum itself, to those that do not know all values any more. Belongs to one lane; not thread-safe.
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
  // The same of the sum.
  void add_total(Step step, double total);
  // The value of one chunk, if it has reported.
  std::optional<double> value(Step step, std::uint32_t chunk) const;
  // The sum over all chunks, once all are known or somebody has said it.
  std::optional<double> total(Step step) const;
  // The chunks that have not reported, for the error that names who is waited for.
  std::vector<std::uint32_t> missing(Step step) const;
  // The steps that are open, the older one first.
  std::array<Step, 2> open_steps() const;

 private:
  struct Open {
    Step step = 0;
    BitSet known;
    std::vector<double> values;
    std::optional<double> total;  // as it was said
  };
  // Null: it is outdated.
  Open* opened(Step step);

  std::array<Open, 2> open_;  // by the parity of the step
};

}  // namespace sheaf::server
