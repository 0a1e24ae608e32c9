// Who belongs to a job and who is still alive: leases, in plain code without sockets. The
// coordinator tells it what happens and when; it answers with what that means. Owned by the
// coordinator's thread; not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/wire/handshake.h"
#include "common/wire/messages.h"

namespace sheaf::cluster {

enum class MemberState { absent, starting, running, suspected, dead, finished };

struct Member {
  wire::ProcessInfo info;
  wire::ProcessInfo follows =
      {};  // of an absent one: who was lost, and may be stopped; pid 0: nobody
  MemberState state = MemberState::absent;
  TimePoint heard{};    // when it was last heard
  TimePoint awaited{};  // since when, while it is absent,
  Duration limit{};     // and for how long
};

class Membership {
 public:
  struct Options {
    std::uint32_t servers = 1;
    std::uint32_t workers = 1;
    std::uint32_t incarnation = 0;  // of those that are awaited
    Duration start{};               // for everybody to arrive
    Duration suspect{};             // of silence
    Duration dead{};
  };
  struct Event {
    enum class Kind { suspected, recovered, dead, missing };
    Kind kind;
    ProcessId process;
    std::string text;     // "worker 1 on n2 (pid 812) has been silent for 5.0 s"
    bool silent = false;  // of the dead: it was not seen to end, its host may be gone
  };

  Membership(const Options& options, TimePoint now);

  bool expects(ProcessId process) const;
  // Whether it may register, or is outdated: another one has been started in its place.
  wire::Verdict admit(ProcessId process, std::uint32_t incarnation) const;
  // It has proved the key, or said anything at all.
  void on_heard(ProcessId process, TimePoint now);
  void on_registered(const wire::ProcessInfo& info, TimePoint now);
  void on_running();  // everybody has been told to start
  void on_finished(ProcessId process);
  // It is lost, and another process of that incarnation is to take its place.
  // It has until `limit` after `now` to arrive.
  void await_successor(ProcessId process, std::uint32_t incarnation, TimePoint now, Duration limit);
  // Its connection has ended: an event unless it had finished.
  std::optional<Event> on_closed(ProcessId process, const std::string& why);
  // What the passing of time means; call about every beat.
  std::vector<Event> on_tick(TimePoint now);

  bool everybody_registered() const;
  bool all_finished(Role role) const;
  // Servers by id, then workers by id: the order of MPI ranks.
  const std::vector<Member>& members() const { return members_; }
  const Member& member(ProcessId process) const { return members_[rank_of(process)]; }
  std::size_t rank_of(ProcessId process) const;

 private:
  std::string name(const Member& member) const;
  Options options_;
  std::vector<Member> members_;
};

}  // namespace sheaf::cluster
