// A command that runs apart from this process: in a session of its own, its input and output in
// files. It outlives the supervisor if that is killed, and no terminal signal reaches it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sheaf::launcher {

struct ChildCommand {
  std::vector<std::string> argv;  // argv[0] is a path with a slash; PATH is not searched
  std::vector<std::pair<std::string, std::string>> environment = {};  // added to ours, or replacing
  // Appended to, made if missing; may be one file. Never pipes: their reader's death would be
  // the death of all who write.
  std::filesystem::path output;
  std::filesystem::path errors;
  std::filesystem::path input = "/dev/null";
};

struct ExitStatus {
  int code = 0;    // meaningful if signal is 0; -1 if the system did not keep it
  int signal = 0;  // that killed it
  bool operator==(const ExitStatus&) const = default;
};

// "exit code 3", "killed by signal 9 (Killed)".
std::string to_string(ExitStatus status);

// One started command. Owns the process until it is reaped: a Child that is destroyed kills its
// process (not what that has started). Used by one thread.
class Child {
 public:
  // Starts it, with no descriptor of ours but the three, no signal blocked or ignored.
  // Throws Fault::config if the files cannot be opened or the program cannot be executed.
  explicit Child(const ChildCommand& command);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  // Readable (poll, epoll) once the process has ended; -1 where the kernel has no such handle
  // (Linux before 5.3): then SIGCHLD tells. Borrowed.
  int pidfd() const { return pidfd_; }

  // How it ended, if it has; never blocks. Reaps it the first time.
  std::optional<ExitStatus> ended();
  // The same, waiting up to `patience`.
  std::optional<ExitStatus> wait(std::chrono::milliseconds patience);

  // Sends a signal; nothing happens once it has been reaped.
  void signal(int number);
  // SIGTERM, then after `grace` SIGKILL; reaps. Nothing only if the kernel cannot end the process
  // within five seconds of SIGKILL (it hangs in a system call).
  std::optional<ExitStatus> terminate(std::chrono::milliseconds grace);

 private:
  pid_t pid_ = -1;
  int pidfd_ = -1;
  std::optional<ExitStatus> status_;
};

// Runs `argv` to its end and returns what it printed, output and errors together. For short
// commands like `mpirun --version`. Throws Fault::config if it cannot be executed, fails, or takes
// longer than `patience`; then it is killed.
std::string output_of(const std::vector<std::string>& argv, std::chrono::milliseconds patience);

}  // namespace sheaf::launcher
