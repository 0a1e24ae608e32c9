// Behind a gate that goes on without the last partitions: which of them are part of the open step.
// One decision for all chunks of the job, so that a step is the gradient of a set of examples.
//
//   a lane            all my chunks have the push of p: p is here
//   the deciding one  p is here in all lanes, and the step is not closed: p is in
//                     as many are in as the gate waits for, with examples: the step is closed
//   a lane            closed, and all that are in are summed: the step may be taken
//
// What is in is everywhere: no step waits for a push that may be lost with its worker. What comes
// later, or is never in, is dropped. Words between lanes may come twice and in any order within a
// step; nobody can speak of the next step before every chunk has taken this one, since a push
// follows a read of all chunks.
// Belongs to one lane; not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/bit_set.h"
#include "common/base/ids.h"
#include "server/consistency/gate.h"

namespace sheaf::server {

class Admission {
 public:
  struct Options {
    std::uint32_t partitions = 1;
    std::size_t chunks = 0;     // of this lane
    std::size_t lanes = 1;      // of the job that hold chunks
    std::size_t all_lanes = 1;  // of the job; their indices are below
  };
  explicit Admission(const Options& options);

  // One more chunk of this lane has the push of a partition, or its word that it has no examples.
  // True when all have.
  bool on_push(Step step, std::uint32_t partition, std::uint64_t examples);

  // For the lane that decides: all chunks of a lane have the push. True if the partition is in now;
  // REQUIRES then: on_push() has been called for it.
  bool on_here(Step step, std::uint32_t partition, std::uint32_t lane);
  // The same: how many are in, if that closes the step now.
  std::optional<std::uint32_t> close(Step step, const Gate& gate);

  // What was decided, as the deciding lane says it.
  void on_in(Step step, std::uint32_t partition);
  void on_closed(Step step, std::uint32_t count);

  bool in(Step step, std::uint32_t partition) const;
  // All that are in are known, and so many are summed.
  bool complete(Step step, std::uint32_t summed) const;

 private:
  struct Partition {
    std::uint32_t chunks = 0;  // of this lane that have its push
    std::uint64_t examples = 0;
    bool in = false;
  };
  // False if it is over.
  bool open(Step step);

  Options options_;
  Step step_ = 0;
  std::vector<Partition> partitions_;
  std::vector<BitSet> here_;  // by partition: the lanes in which it is here
  std::uint32_t count_ = 0;   // that are in
  std::uint64_t examples_ = 0;
  std::optional<std::uint32_t> closed_;  // with so many
};

}  // namespace sheaf::server
