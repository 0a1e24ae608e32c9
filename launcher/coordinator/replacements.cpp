#include "launcher/coordinator/replacements.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/error.h"
#include "common/params/partition_tree.h"

namespace sheaf::launcher {

std::optional<Replacements::Successor> Replacements::on_lost(const wire::ProcessInfo& lost,
                                                             std::optional<Step> newest,
                                                             TimePoint now) {
  if (options_.budget == nullptr) return std::nullopt;
  if (lost.process.role == Role::server) {
    const auto before = lost_.find(lost.process);
    const bool adopting = before != lost_.end() && before->second.registered;
    if (!options_.servers_return || adopting || lacks_backup(lost.process.id)) return std::nullopt;
  }
  // Who is lost while others are awaited is part of the same misfortune: a host, perhaps.
  const bool first = lost_.empty() || lost_.contains(lost.process);
  std::optional<Duration> pause = Duration{0};
  if (first) {
    pause = options_.budget->next(newest);
  } else {
    for (const auto& [process, other] : lost_) pause = std::max(*pause, other.start_at - now);
  }
  if (!pause) return std::nullopt;
  if (lost.process.role == Role::server) {  // workers begin when its successor can be found
    for (auto& [process, other] : lost_) other.clocks.erase(lost.process.id);
  }
  Lost& entry = lost_[lost.process];
  entry = {.info = lost,
           .incarnation = options_.incarnation + ++started_,
           .start_at = now + *pause,
           .clocks = {}};
  if (*pause == Duration{0}) start(entry);
  return Successor{entry.incarnation, *pause};
}

std::optional<std::uint32_t> Replacements::on_moved(const wire::ProcessInfo& lost,
                                                    std::optional<Step> newest, TimePoint now) {
  const auto [before, is_first] = moved_.try_emplace(lost.process, newest);
  if (!is_first && before->second >= newest) return std::nullopt;
  before->second = newest;
  Lost& entry = lost_[lost.process];
  entry = {.info = lost,
           .incarnation = options_.incarnation + ++started_,
           .start_at = now,
           .started = true,
           .clocks = {}};
  return entry.incarnation;
}

// It is lost together with the one that keeps its replica, or whose replica it keeps.
bool Replacements::lacks_backup(std::uint32_t server) const {
  return !options_.backups.empty() && std::ranges::any_of(lost_, [&](const auto& entry) {
    const ProcessId other = entry.first;
    return other.role == Role::server && other.id != server &&
           (options_.backups[server] == other.id || options_.backups[other.id] == server);
  });
}

void Replacements::start(Lost& lost) {
  lost.started = true;
  options_.start(lost.info, lost.incarnation);
}

void Replacements::on_tick(TimePoint now) {
  for (auto& [process, lost] : lost_) {
    if (!lost.started && now >= lost.start_at) start(lost);
  }
}

PartitionRange Replacements::hosted(std::uint32_t worker) const {
  return params::hosted_partitions(options_.partitions, options_.workers, worker);
}

void Replacements::on_registered(ProcessId process) {
  Lost& lost = lost_.at(process);
  lost.registered = true;
  if (process.role == Role::server) return options_.adopt(lost.info);
  ask(process);
}

void Replacements::ask(ProcessId worker) {
  const PartitionRange partitions = hosted(worker.id);
  options_.ask({partitions.first, partitions.count, 0, worker.id, lost_.at(worker).incarnation});
}

// Workers that have come meanwhile are still without its answer.
bool Replacements::on_adopted(ProcessId server) {
  if (server.role != Role::server || lost_.erase(server) == 0) return false;
  for (const auto& [process, lost] : lost_) {
    if (process.role == Role::worker && lost.registered) ask(process);
  }
  return true;
}

void Replacements::on_clock(std::uint32_t server, const wire::PartitionClock& clock) {
  const auto asked = std::ranges::find_if(lost_, [&](const auto& entry) {
    return entry.first == ProcessId{Role::worker, clock.worker} && entry.second.registered &&
           entry.second.incarnation == clock.incarnation;
  });
  if (asked == lost_.end()) return;  // it was lost again meanwhile
  auto& clocks = asked->second.clocks;
  clocks[server] = clock.step;
  if (clocks.size() != options_.servers) return;
  Step least = std::numeric_limits<Step>::max();
  for (const auto& [id, step] : clocks) least = std::min(least, step);
  check(least != std::numeric_limits<Step>::max(), "some server has a chunk");
  const ProcessId worker = asked->first;
  lost_.erase(asked);
  options_.begin(worker, least);
}

}  // namespace sheaf::launcher
