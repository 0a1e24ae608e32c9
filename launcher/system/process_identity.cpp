#include "launcher/system/process_identity.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>

#include "common/base/error.h"

namespace sheaf::launcher {

std::optional<ProcessIdentity> identify(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  // Through a stream, which takes a process that ends under our eyes for the end of its file.
  std::ostringstream whole;
  whole << file.rdbuf();
  const std::string text = whole.str();
  // "PID (name) state ppid …": the name may hold blanks and brackets, so read on after the last.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  std::string state;
  fields >> state;
  if (state == "Z" || state == "X") return std::nullopt;
  constexpr int kBetween = 22 - 3 - 1;  // fields after the state (3) and before the start time (22)
  std::string skipped;
  for (int i = 0; i < kBetween; ++i) fields >> skipped;
  ProcessIdentity process{.pid = pid};
  if (!(fields >> process.start_ticks)) return std::nullopt;
  return process;
}

bool send_signal(const ProcessIdentity& process, int signal) {
  // The handle is taken before the look: it means one process for ever, so that nothing can take
  // the pid between the look and the signal. Linux before 5.3 has no such handle.
  const int handle = static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0));
  if (handle < 0 && errno != ENOSYS) return false;
  bool sent = identify(process.pid) == process;
  if (sent && handle >= 0) sent = syscall(SYS_pidfd_send_signal, handle, signal, nullptr, 0) == 0;
  if (sent && handle < 0) sent = kill(process.pid, signal) == 0;
  if (handle >= 0) close(handle);
  return sent;
}

bool end_process(const ProcessIdentity& process, Duration patience) {
  const auto since = std::chrono::steady_clock::now();
  send_signal(process, SIGKILL);
  while (identify(process.pid) == process) {  // it need not be our child: nobody tells us
    if (std::chrono::steady_clock::now() - since > patience) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace sheaf::launcher
