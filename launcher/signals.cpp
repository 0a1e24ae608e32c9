#include "launcher/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/base/error.h"

namespace sheaf::launcher {

Signals::Signals() {
  sigset_t ours;
  sigemptyset(&ours);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD}) sigaddset(&ours, signal);
  fd_ = signalfd(-1, &ours, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd_ < 0) fail(Fault::internal, "signalfd: {}", std::strerror(errno));
  pthread_sigmask(SIG_BLOCK, &ours, &previous_);
}

Signals::~Signals() {
  while (take()) {  // what is still pending was for us: it must not end the process now
  }
  close(fd_);
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

std::optional<int> Signals::take() {
  signalfd_siginfo info{};
  if (read(fd_, &info, sizeof(info)) != sizeof(info)) return std::nullopt;
  const int signal = static_cast<int>(info.ssi_signo);
  if (signal == SIGINT) ++interrupts_;
  return signal;
}

}  // namespace sheaf::launcher
