// A gate decides when pushed gradients are applied and which pulls are answered. The shard that
// asks does not know which consistency model it serves. Const and thread-safe.
//
// A synchronous gate makes one optimizer step of the pushes of all partitions, or of all but a few;
// version t + 1 of a chunk is then step t applied to version t. With any other gate each push of
// one partition is an optimizer step, and makes a version, by itself.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "common/base/ids.h"
#include "common/base/mode.h"

namespace sheaf::config {
class Section;
}

namespace sheaf::server {

// What a chunk knows of the optimizer step that is being collected.
struct Arrivals {
  std::uint32_t covered = 0;     // partitions whose contribution has arrived (or that have none)
  std::uint32_t partitions = 0;  // of the job
};

// What a chunk has for a pull. A clock counts the steps of a partition that the chunk has.
struct Readable {
  Version oldest = 0;  // versions [oldest, newest] can be read
  Version newest = 0;
  Step slowest = 0;  // clock of the partition that is furthest behind
  Step own = 0;      // the same among the partitions that pull
};

struct PullAnswer {
  enum class When : std::uint8_t { now, later, never };
  When when = When::later;
  Version version = 0;  // to be read now

  static PullAnswer now(Version version) { return {When::now, version}; }
  static PullAnswer later() { return {When::later, 0}; }
  // Whoever pulls has long had an answer.
  static PullAnswer never() { return {When::never, 0}; }
};

class Gate {
 public:
  using Make = std::unique_ptr<Gate>(const config::Section& section);

  virtual ~Gate() = default;

  virtual bool synchronous() const = 0;
  // How many partitions a synchronous step goes without, if they are late; 0: every step has all.
  virtual std::uint32_t backup() const { return 0; }
  // Whether every step has the pushes of all, so that all who read at a clock read the same
  // version.
  bool exact() const { return synchronous() && backup() == 0; }
  // How many times its own part of a step a worker waits for the others before it offers to compute
  // theirs; nothing: it never does.
  virtual std::optional<double> stand_in_after() const { return std::nullopt; }
  // Whether steps go on without whoever is still at one, who then goes on from the newest version:
  // it reads copies of its own, since what others read is written over.
  bool overtakes() const { return backup() != 0 || stand_in_after().has_value(); }
  // The most steps that a partition may be ahead of the slowest when it reads; nothing = no bound.
  virtual std::optional<Step> staleness() const = 0;
  // How many steps a partition takes by itself between two pushes; 0 = none, it pushes gradients.
  virtual std::uint32_t local_steps() const { return 0; }

  // True when what has arrived may become an optimizer step.
  virtual bool may_apply(const Arrivals& arrivals) const = 0;

  // What becomes of a pull by partitions at `clock` (they have finished `clock` steps).
  virtual PullAnswer answer(Step clock, const Readable& readable) const = 0;

  // Scales the learning rate of a push that was computed `delay` versions ago.
  virtual double rate_scale(Version /*delay*/) const { return 1; }
};

ModeTable<Gate> gates();

}  // namespace sheaf::server
