// Who computes for whom: idle workers offer to, the servers say whose partitions a step lacks, and
// each worker that is late in a step gets one stand-in for it, if possible the one that has kept
// its examples from before. Plain code: no sockets, no clock. Belongs to the coordinator's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "common/base/ids.h"
#include "common/wire/messages.h"

namespace sheaf::launcher {

class Speculation {
 public:
  struct Options {
    std::uint32_t workers = 1;
    std::uint32_t partitions = 1;
    // That worker is to compute these partitions in that step, too.
    std::function<void(std::uint32_t worker, const wire::PartitionClock& help)> send;
  };
  explicit Speculation(Options options) : options_(std::move(options)) {}

  // A worker has done its part of a step and has waited for long. Then the servers are to be asked,
  // and what they say is for on_missing().
  void on_offer(std::uint32_t worker, Step step);
  void on_missing(Step step, std::span<const std::uint32_t> partitions);
  // What it was asked to compute somebody else may.
  void on_lost(std::uint32_t worker);

 private:
  std::optional<std::uint32_t> choose(std::uint32_t late, Step step) const;

  const Options options_;
  struct Idle {
    Step step = 0;  // in which it waits
    bool busy = false;
  };
  std::map<std::uint32_t, Idle> idle_;  // by worker
  struct Helped {
    Step step = 0;
    std::uint32_t by = 0;  // in that step, the last one in which it was late
    bool open = false;     // nobody else is to
  };
  std::map<std::uint32_t, Helped> helped_;  // by the worker that was late
};

}  // namespace sheaf::launcher
