// The history of a lane, and whether it kept what its consistency model promises. The checker knows
// the promise only, nothing of gates and shards.
//
// A trace is text: a line about the job, then one for each push that was added (or step that a
// partition had no examples for) and each pull that was answered, in the order of the lane, and a
// last one if the lane ended in peace:
//
//   sheaf-trace 3 partitions 4 first 0 staleness 3
//   begin CHUNK FIRST COUNT CLOCK
//   push CHUNK FIRST COUNT STEP
//   pull CHUNK FIRST COUNT CLOCK VERSION
//   end STEP TRACES
//
// `first`: the step at which this trace begins; `begin`: the clock at which a chunk does, of those
// partitions, where the lane goes on with what another process has left; `end`: the one at which it
// ends, as do as many traces of the job. In the place of `staleness S`, `synchronous`,
// `overtaking`, `backup B` or `unbounded`. A last line without an end, as a killed process leaves
// it, is not read.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/ids.h"

namespace sheaf::server {

struct TraceEvent {
  enum class Kind : std::uint8_t { push, pull, begin };
  Kind kind = Kind::push;
  std::uint32_t chunk = 0;
  PartitionRange partitions;
  Step step = 0;        // of a push; clock of a pull or a beginning
  Version version = 0;  // that a pull reads
};

struct TraceHead {
  std::uint32_t partitions = 1;
  Step first = 0;
  bool synchronous = true;
  bool overtakes = false;         // who is behind a synchronous step may read a later version
  std::uint32_t backup = 0;       // partitions that a synchronous step may go without
  std::optional<Step> staleness;  // none = no bound
};

struct TraceEnd {
  Step step = 0;
  std::size_t traces = 0;  // of the job that end there
};

std::string to_line(const TraceHead& head);
std::string to_line(const TraceEvent& event);
std::string to_line(const TraceEnd& end);

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
  std::string on_begin(const TraceEvent& event);
  std::string on_push(std::vector<Step>& clocks, const TraceEvent& event);
  std::string on_pull(const std::vector<Step>& clocks, const TraceEvent& event);
  // Where steps go without some: the step that a chunk collects, and who is in.
  struct Collecting {
    Step step = 0;
    std::set<std::uint32_t> in = {};
  };
  std::string on_push(Collecting& chunk, const TraceEvent& event);
  std::string on_pull(Collecting& chunk, const TraceEvent& event);
  // Goes on to `step` if that is the next one and enough are in.
  std::string go_on(Collecting& chunk, const TraceEvent& event, Step step);

  TraceHead head_;
  std::set<std::uint32_t> going_;                      // chunks with pushes or pulls
  std::map<std::uint32_t, std::vector<Step>> clocks_;  // by chunk, then partition
  std::map<std::uint32_t, Collecting> collecting_;     // the same with backup
  std::map<Step, std::set<std::uint32_t>> taken_;      // of whom, the last few steps
  std::uint64_t pushes_ = 0;
  std::uint64_t pulls_ = 0;
  Step most_ahead_ = 0;
};

struct TraceFindings {
  std::uint64_t pushes = 0;
  std::uint64_t pulls = 0;
  Step most_ahead = 0;
  std::string problem;          // with its line; empty: the promise was kept
  std::optional<TraceEnd> end;  // nothing: it was cut, or its process was killed
};
// Reads a whole trace, up to the first problem.
TraceFindings check_trace(std::istream& in);

}  // namespace sheaf::server
