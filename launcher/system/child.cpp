#include "launcher/system/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "common/base/descriptor.h"
#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kKillPatience{5000};

// `fd`, or a copy of it above 2. In a process that was started without standard streams a new
// descriptor may be one of 0, 1 and 2, which the child is about to replace.
int above_streams(int fd) {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int reason = errno;
  close(fd);
  errno = reason;
  return copy;
}

int open_stream(const std::filesystem::path& file, int flags) {
  const int fd = above_streams(::open(file.c_str(), flags | O_CLOEXEC, 0644));
  if (fd < 0) fail(Fault::config, "cannot open {}: {}", file.string(), std::strerror(errno));
  return fd;
}

// Our environment with the variables of `command`, as execve takes it; `text` owns the strings.
std::vector<char*> environment_of(const ChildCommand& command, std::vector<std::string>& text) {
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view entry(*variable);
    const std::string_view name = entry.substr(0, entry.find('='));
    const bool replaced = std::ranges::any_of(command.environment,
                                              [&](const auto& own) { return own.first == name; });
    if (!replaced) text.emplace_back(entry);
  }
  for (const auto& [name, value] : command.environment) text.push_back(name + "=" + value);
  std::vector<char*> pointers;
  for (std::string& entry : text) pointers.push_back(entry.data());
  pointers.push_back(nullptr);
  return pointers;
}

void close_others_on_exec() {
#ifdef SYS_close_range
  constexpr unsigned kCloseOnExec = 4;  // CLOSE_RANGE_CLOEXEC, Linux 5.11
  if (syscall(SYS_close_range, 3U, UINT_MAX, kCloseOnExec) == 0) return;
#endif
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  for (rlim_t fd = 3; fd < limit.rlim_cur; ++fd) fcntl(static_cast<int>(fd), F_SETFD, FD_CLOEXEC);
}

// In the new process, between fork and exec: other threads may have held any lock when it was
// forked, so only calls that POSIX calls async-signal-safe. Reports errno to `report` if exec
// fails.
[[noreturn]] void become(char* const* argv, char* const* environment, std::array<int, 3> streams,
                         int report) {
  setsid();
  for (int fd = 0; fd < 3; ++fd) dup2(streams[static_cast<std::size_t>(fd)], fd);
  close_others_on_exec();
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(argv[0], argv, environment);
  const int reason = errno;
  [[maybe_unused]] const ssize_t written = ::write(report, &reason, sizeof(reason));
  _exit(127);
}

// Forks with every signal blocked, so that no handler of ours runs in the new process.
pid_t fork_quietly() {
  sigset_t all;
  sigset_t previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  const pid_t pid = fork();
  const int reason = errno;
  if (pid != 0) pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  errno = reason;
  return pid;
}

}  // namespace

std::string to_string(ExitStatus status) {
  if (status.signal != 0) {
    return fmt::format("killed by signal {} ({})", status.signal, strsignal(status.signal));
  }
  return status.code < 0 ? "ended, exit code unknown" : fmt::format("exit code {}", status.code);
}

Child::Child(const ChildCommand& command) {
  check(!command.argv.empty() && command.argv[0].find('/') != std::string::npos,
        "argv[0] of a command is a path");
  std::vector<std::string> arguments = command.argv;
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<std::string> variables;
  const std::vector<char*> environment = environment_of(command, variables);

  constexpr int kAppend = O_WRONLY | O_CREAT | O_APPEND;
  const Descriptor input(open_stream(command.input, O_RDONLY));
  const Descriptor output(open_stream(command.output, kAppend));
  const Descriptor errors(open_stream(command.errors, kAppend));
  std::array<int, 2> ends{-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) fail(Fault::internal, "pipe: {}", std::strerror(errno));
  const Descriptor outcome(ends[0]);
  Descriptor report(above_streams(ends[1]));

  pid_ = fork_quietly();
  if (pid_ < 0) fail(Fault::internal, "cannot start a process: {}", std::strerror(errno));
  if (pid_ == 0) {
    become(argv.data(), environment.data(), {input.get(), output.get(), errors.get()},
           report.get());
  }
  // exec closes the last writing end: end of file is success.
  report = Descriptor();
  int reason = 0;
  ssize_t got = 0;
  do {
    got = read(outcome.get(), &reason, sizeof(reason));
  } while (got < 0 && errno == EINTR);
  if (got == sizeof(reason)) {
    waitpid(pid_, nullptr, 0);
    fail(Fault::config, "cannot execute {}: {}", command.argv[0], std::strerror(reason));
  }
  pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
}

Child::~Child() {
  if (!ended()) {
    signal(SIGKILL);
    wait(kKillPatience);
  }
  if (pidfd_ >= 0) close(pidfd_);
}

std::optional<ExitStatus> Child::ended() {
  if (status_) return status_;
  int status = 0;
  const pid_t reaped = waitpid(pid_, &status, WNOHANG);
  if (reaped == pid_) {
    status_ = WIFSIGNALED(status) ? ExitStatus{.signal = WTERMSIG(status)}
                                  : ExitStatus{.code = WEXITSTATUS(status)};
  } else if (reaped < 0 && errno == ECHILD) {
    status_ = ExitStatus{.code = -1};  // we were started with SIGCHLD ignored: the kernel reaped it
  }
  return status_;
}

std::optional<ExitStatus> Child::wait(milliseconds patience) {
  const auto deadline = steady_clock::now() + patience;
  while (!ended()) {
    auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    if (left <= milliseconds(0)) break;
    if (pidfd_ < 0) left = std::min(left, milliseconds(10));  // an old kernel: look again
    pollfd event{.fd = pidfd_, .events = POLLIN, .revents = 0};
    poll(&event, 1, static_cast<int>(std::min<milliseconds::rep>(left.count(), INT_MAX)));
  }
  return status_;
}

void Child::signal(int number) {
  if (!ended()) kill(pid_, number);  // not reaped: the pid is still its own
}

std::optional<ExitStatus> Child::terminate(milliseconds grace) {
  signal(SIGTERM);
  if (!wait(grace)) {
    signal(SIGKILL);
    wait(kKillPatience);
  }
  return status_;
}

std::string output_of(const std::vector<std::string>& argv, milliseconds patience) {
  const Descriptor memory(memfd_create("output", MFD_CLOEXEC));
  if (memory.get() < 0) fail(Fault::internal, "memfd_create: {}", std::strerror(errno));
  const std::string file = fmt::format("/proc/self/fd/{}", memory.get());
  Child child({.argv = argv, .output = file, .errors = file});
  const std::optional<ExitStatus> status = child.wait(patience);
  std::string text;
  std::array<char, 4096> buffer;
  ssize_t n = 0;
  while ((n = pread(memory.get(), buffer.data(), buffer.size(), static_cast<off_t>(text.size()))) >
         0) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  if (status == ExitStatus{}) return text;
  fail(Fault::config, "{}: {}{}{}", argv[0],
       status ? to_string(*status) : fmt::format("no end after {} ms", patience.count()),
       text.empty() ? "" : ": ", text);
}

}  // namespace sheaf::launcher
