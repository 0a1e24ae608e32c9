// The history of a lane, and whether it kept what its consistency model promises. The checker knows
// the promise only, nothing of gates and shards.
//
// A trace is text: a line about the job, then one for each push that was added (or step that a
// partition had no examples for) and each pull that was answered, in the order of the lane:
//
//   sheaf-trace 1 partitions 4 first 0 staleness 3
//   push CHUNK FIRST COUNT STEP
//   pull CHUNK FIRST COUNT CLOCK VERSION
//
// `first`: the step at which this trace begins. In the place of `staleness S`, `synchronous` or
// `unbounded`. A last line without an end, as a killed process leaves it, is not read.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ids.h"

namespace sheaf::server {

struct TraceEvent {
  enum class Kind : std::uint8_t { push, pull };
  Kind kind = Kind::push;
  std::uint32_t chunk = 0;
  PartitionRange partitions;
  Step step = 0;        // of a push; clock of a pull
  Version version = 0;  // that a pull reads
};

struct TraceHead {
  std::uint32_t partitions = 1;
  Step first = 0;
  bool synchronous = true;
  std::optional<Step> staleness;  // none = no bound
};

std::string to_line(const TraceHead& head);
std::string to_line(const TraceEvent& event);

// Belongs to one thread.
class TraceChecker {
 public:
  explicit TraceChecker(const TraceHead& head) : head_(head) {}

  // What is wrong with the next event; empty: nothing.
  std::string add(const TraceEvent& event);

  std::uint64_t pushes() const { return pushes_; }
  std::uint64_t pulls() const { return pulls_; }
  Step most_ahead() const { return most_ahead_; }  // of the slowest, when it read

 private:
  std::string on_push(std::vector<Step>& clocks, const TraceEvent& event);
  std::string on_pull(const std::vector<Step>& clocks, const TraceEvent& event);

  TraceHead head_;
  std::map<std::uint32_t, std::vector<Step>> clocks_;  // by chunk, then partition
  std::uint64_t pushes_ = 0;
  std::uint64_t pulls_ = 0;
  Step most_ahead_ = 0;
};

struct TraceFindings {
  std::uint64_t pushes = 0;
  std::uint64_t pulls = 0;
  Step most_ahead = 0;
  std::string problem;  // with its line; empty: the promise was kept
};
// Reads a whole trace, up to the first problem.
TraceFindings check_trace(std::istream& in);

}  // namespace sheaf::server
