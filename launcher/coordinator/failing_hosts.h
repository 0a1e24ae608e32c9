// Hosts whose processes keep dying get no replacements for a while: whatever kills processes there
// (memory, a disk, a card) would kill those, too, and spend the budget of the job.
// Plain code: time and names of hosts are arguments. Used by one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/base/clock.h"

namespace sheaf::launcher {

class FailingHosts {
 public:
  // A host that loses `losses` processes within `span` is set aside until `span` after the last.
  FailingHosts(std::uint32_t losses, Duration span) : most_(losses), span_(span) {}

  // A process was lost on a host; `id` tells hosts of one name apart. Those within a second of one
  // another are one misfortune. True if that sets the host aside now.
  bool on_loss(const std::string& id, const std::string& name, TimePoint now);
  bool is_aside(const std::string& id, TimePoint now) const;
  // A line for each host that is.
  std::vector<std::string> lines(TimePoint now) const;

 private:
  struct Host {
    std::string name;
    std::vector<TimePoint> losses;  // the last few, ascending
  };
  bool is_aside(const Host& host, TimePoint now) const;

  std::uint32_t most_;
  Duration span_;
  std::map<std::string, Host> hosts_;  // by id
};

}  // namespace sheaf::launcher
