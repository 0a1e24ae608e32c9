// Processes of a test: started in a session of their own, watched by descriptor, and found again
// among the descendants of the test, so that a signal never hits anybody else.
// One thread; every wait has a limit.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::harness {

using Limit = std::chrono::milliseconds;

// For what a job leaves to end by itself, however busy the machine is. What stays does so for ever.
inline constexpr Limit kAllGone(5000);

// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Command {
  std::vector<std::string> argv;  // argv[0] is a path
  std::map<std::string, std::string> environment = {};
  std::filesystem::path output;
  std::filesystem::path errors;
};

class Process {
 public:
  explicit Process(const Command& command);
  // Kills every descendant of the test: after a failed test nothing is left behind, either.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  void signal(int number) const;
  // The exit code, 128 + n after signal n; nothing if it still runs after `limit`.
  std::optional<int> wait(Limit limit);

 private:
  pid_t pid_;
  Descriptor pidfd_;
  std::optional<int> code_;
};

// What the program said to a person who gave it these words, and its exit code; -1: none within
// `limit`.
struct Answer {
  int code = -1;
  std::string output, errors;
};
Answer ask_program(const std::vector<std::string>& words, Limit limit);

// All running processes that this one or its descendants started, orphans included: a test that
// has started a Process is the reaper of its orphans.
std::vector<pid_t> descendants();
// Of those, the one whose program has this name; throws if there is none, or more than one.
pid_t descendant_called(std::string_view name);
// Sends a signal to a descendant; throws if `pid` is none.
void signal_descendant(pid_t pid, int number);
// The descendants, other than `spared`, that still run after `limit`; returns early once there are
// none.
std::vector<pid_t> wait_for_descendants(Limit limit, pid_t spared = 0);
// "pid name state" of each, for a message.
std::string describe(const std::vector<pid_t>& pids);

}  // namespace sheaf::harness
