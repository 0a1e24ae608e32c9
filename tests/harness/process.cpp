#include "tests/harness/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string_view>

#include "tests/harness/places.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::harness {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Status {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';
  std::string name;
};

// /proc/PID/stat: pid (name, which may hold anything) state parent …
std::optional<Status> status_of(const fs::path& folder) {
  std::ifstream file(folder / "stat");
  // Through a stream, which takes a process that ends under our eyes for the end of its file.
  std::ostringstream whole;
  whole << file.rdbuf();
  const std::string text = whole.str();
  const std::size_t open = text.find('(');
  const std::size_t close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  Status status;
  std::from_chars(text.data(), text.data() + open, status.pid);
  status.name = text.substr(open + 1, close - open - 1);
  status.state = text.at(close + 2);
  std::from_chars(text.data() + close + 4, text.data() + text.size(), status.parent);
  return status;
}

std::vector<Status> running() {
  std::vector<Status> all;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (auto status = status_of(entry.path())) all.push_back(std::move(*status));
  }
  return all;
}

int remaining(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<Limit>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<Limit::rep>(left, 0, 600'000));
}

int pidfd_of(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

std::vector<std::string> environment_of(const Command& command) {
  std::vector<std::string> all;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text(*variable);
    if (!command.environment.contains(std::string(text.substr(0, text.find('='))))) {
      all.emplace_back(text);
    }
  }
  for (const auto& [name, value] : command.environment) all.push_back(name + "=" + value);
  return all;
}

int open_file(const fs::path& file, int flags) {
  const int fd = ::open(file.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) throw std::runtime_error(file.string() + ": " + std::strerror(errno));
  return fd;
}

pid_t start(const Command& command) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  std::vector<std::string> words = command.argv;
  std::vector<std::string> variables = environment_of(command);
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> environment = pointers(variables);
  const Descriptor input(open_file("/dev/null", O_RDONLY));
  const Descriptor output(open_file(command.output, O_WRONLY | O_CREAT | O_APPEND));
  const Descriptor errors(open_file(command.errors, O_WRONLY | O_CREAT | O_APPEND));
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::setsid();
  ::dup2(input.get(), 0);
  ::dup2(output.get(), 1);
  ::dup2(errors.get(), 2);
  ::execve(argv[0], argv.data(), environment.data());
  ::_exit(127);
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Process::Process(const Command& command) : pid_(start(command)), pidfd_(pidfd_of(pid_)) {
  if (pid_ < 0 || pidfd_.get() < 0) throw std::runtime_error("cannot start a process");
}

Process::~Process() {
  for (const pid_t pid : descendants()) ::kill(pid, SIGKILL);
  wait_for_descendants(Limit(5000));
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

void Process::signal(int number) const {
  if (!code_) ::kill(pid_, number);  // not reaped: the pid is its own
}

std::optional<int> Process::wait(Limit limit) {
  if (code_) return code_;
  pollfd event{pidfd_.get(), POLLIN, 0};
  if (::poll(&event, 1, remaining(Clock::now() + limit)) <= 0) return std::nullopt;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return code_;
}

std::vector<pid_t> descendants() {
  const std::vector<Status> all = running();
  std::vector<pid_t> family{::getpid()};
  for (std::size_t i = 0; i < family.size(); ++i) {
    for (const Status& status : all) {
      if (status.parent == family[i]) family.push_back(status.pid);
    }
  }
  family.erase(family.begin());
  std::erase_if(family, [&](pid_t pid) {
    const auto found = std::ranges::find(all, pid, &Status::pid);
    return found->state == 'Z' || found->state == 'X';
  });
  return family;
}

pid_t descendant_called(std::string_view name) {
  std::vector<pid_t> family = descendants();
  std::erase_if(family, [&](pid_t pid) {
    const auto status = status_of(fs::path("/proc") / std::to_string(pid));
    return !status || status->name != name;
  });
  if (family.size() != 1) {
    throw std::runtime_error(std::to_string(family.size()) + " processes are called " +
                             std::string(name));
  }
  return family[0];
}

void signal_descendant(pid_t pid, int number) {
  const Descriptor process(pidfd_of(pid));  // from here on the pid cannot come to mean another
  const std::vector<pid_t> family = descendants();
  if (process.get() < 0 || std::ranges::find(family, pid) == family.end()) {
    throw std::runtime_error("process " + std::to_string(pid) + " is none of this test");
  }
  ::syscall(SYS_pidfd_send_signal, process.get(), number, nullptr, 0);
}

std::vector<pid_t> wait_for_descendants(Limit limit, pid_t spared) {
  const auto deadline = Clock::now() + limit;
  while (true) {
    std::vector<pid_t> left = descendants();
    std::erase(left, spared);
    if (left.empty() || remaining(deadline) == 0) return left;
    const Descriptor process(pidfd_of(left[0]));
    pollfd event{process.get(), POLLIN, 0};
    if (process.get() >= 0) ::poll(&event, 1, remaining(deadline));
  }
}

std::string describe(const std::vector<pid_t>& pids) {
  std::string text;
  for (const pid_t pid : pids) {
    const auto status = status_of(fs::path("/proc") / std::to_string(pid));
    if (status) text += std::to_string(pid) + " " + status->name + " " + status->state + "; ";
  }
  return text;
}

Answer ask_program(const std::vector<std::string>& words, Limit limit) {
  const launcher::TemporaryFolder folder;
  std::vector<std::string> argv = {test_program()};
  argv.insert(argv.end(), words.begin(), words.end());
  Answer answer;
  {
    Process process({.argv = argv, .output = folder / "output", .errors = folder / "errors"});
    answer.code = process.wait(limit).value_or(-1);
  }
  const auto text = [&](const char* name) {
    std::ostringstream all;
    all << std::ifstream(folder / name).rdbuf();
    return all.str();
  };
  answer.output = text("output");
  answer.errors = text("errors");
  return answer;
}

}  // namespace sheaf::harness
