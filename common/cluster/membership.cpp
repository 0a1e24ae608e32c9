#include "common/cluster/membership.h"

#include <algorithm>

#include "common/base/error.h"

namespace sheaf::cluster {

Membership::Membership(const Options& options, TimePoint now) : options_(options) {
  for (std::uint32_t i = 0; i < options.servers + options.workers; ++i) {
    Member member;
    const bool server = i < options.servers;
    member.info.process = {server ? Role::server : Role::worker, server ? i : i - options.servers};
    member.info.incarnation = options.incarnation;
    member.awaited = now;
    member.limit = options.start;
    members_.push_back(std::move(member));
  }
}

bool Membership::expects(ProcessId process) const {
  if (process.role == Role::server) return process.id < options_.servers;
  return process.role == Role::worker && process.id < options_.workers;
}

wire::Verdict Membership::admit(ProcessId process, std::uint32_t incarnation) const {
  if (!expects(process)) return wire::Verdict::not_expected;
  if (incarnation < member(process).info.incarnation) return wire::Verdict::stale;
  return wire::Verdict::welcome;
}

std::size_t Membership::rank_of(ProcessId process) const {
  check(expects(process), "a process of this job");
  return process.role == Role::server ? process.id : options_.servers + process.id;
}

std::string Membership::name(const Member& member) const {
  return fmt::format("{} on {} (pid {})", to_string(member.info.process), member.info.host,
                     member.info.pid);
}

void Membership::on_heard(ProcessId process, TimePoint now) {
  members_[rank_of(process)].heard = now;
}

void Membership::on_registered(const wire::ProcessInfo& info, TimePoint now) {
  Member& member = members_[rank_of(info.process)];
  member.info = info;
  member.follows = {};
  member.state = MemberState::starting;
  member.heard = now;
}

void Membership::on_running() {
  for (Member& member : members_) {
    if (member.state == MemberState::starting) member.state = MemberState::running;
  }
}

void Membership::on_finished(ProcessId process) {
  members_[rank_of(process)].state = MemberState::finished;
}

void Membership::await_successor(ProcessId process, std::uint32_t incarnation, TimePoint now,
                                 Duration limit) {
  Member& member = members_[rank_of(process)];
  const bool unheard = member.state == MemberState::absent;
  wire::ProcessInfo lost = std::move(unheard ? member.follows : member.info);
  member = {};
  member.follows = std::move(lost);
  member.info.process = process;
  member.info.incarnation = incarnation;
  member.awaited = now;
  member.limit = limit;
}

std::optional<Membership::Event> Membership::on_closed(ProcessId process, const std::string& why) {
  Member& member = members_[rank_of(process)];
  if (member.state == MemberState::finished || member.state == MemberState::dead) return {};
  if (member.state == MemberState::absent) return {};  // it may come again
  member.state = MemberState::dead;
  return Event{Event::Kind::dead, process, fmt::format("{} is gone: {}", name(member), why)};
}

std::vector<Membership::Event> Membership::on_tick(TimePoint now) {
  std::vector<Event> events;
  for (Member& member : members_) {
    const ProcessId process = member.info.process;
    const double silent = seconds(now - member.heard);
    switch (member.state) {
      case MemberState::absent:
        if (now - member.awaited <= member.limit) break;
        events.push_back(
            {Event::Kind::missing, process,
             fmt::format("{} (rank {}) has not arrived within {:.1f} s", to_string(process),
                         rank_of(process), seconds(member.limit))});
        break;
      case MemberState::starting:
      case MemberState::running:
        if (now - member.heard < options_.suspect) break;
        member.state = MemberState::suspected;
        events.push_back({Event::Kind::suspected, process,
                          fmt::format("{} has been silent for {:.1f} s", name(member), silent)});
        break;
      case MemberState::suspected:
        if (now - member.heard < options_.suspect) {
          member.state = MemberState::running;
          events.push_back(
              {Event::Kind::recovered, process, fmt::format("{} is back", name(member))});
        } else if (now - member.heard >= options_.dead) {
          member.state = MemberState::dead;
          events.push_back(
              {Event::Kind::dead, process,
               fmt::format("{} has been silent for {:.1f} s: taken for dead", name(member), silent),
               true});
        }
        break;
      case MemberState::dead:
      case MemberState::finished: break;
    }
  }
  return events;
}

bool Membership::everybody_registered() const {
  return std::ranges::none_of(members_,
                              [](const Member& m) { return m.state == MemberState::absent; });
}

bool Membership::all_finished(Role role) const {
  return std::ranges::all_of(members_, [&](const Member& m) {
    return m.info.process.role != role || m.state == MemberState::finished;
  });
}

}  // namespace sheaf::cluster
