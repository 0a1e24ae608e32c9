#include "launcher/system/signals.h"

#include <sys/signalfd.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

constexpr std::array kSignals{SIGINT, SIGTERM, SIGUSR1, SIGCHLD};

// A library may have started threads before main (OpenBLAS does), which block nothing: a signal
// finds one of them and would end the process. There it is sent once more, and blocked from then
// on, so that it comes to the descriptor.
void send_again(int signal, siginfo_t*, void* context) {
  const int reason = errno;
  for (const int ours : kSignals) {
    sigaddset(&static_cast<ucontext_t*>(context)->uc_sigmask, ours);
  }
  kill(getpid(), signal);
  errno = reason;
}

}  // namespace

Signals::Signals() {
  sigset_t ours;
  sigemptyset(&ours);
  for (const int signal : kSignals) sigaddset(&ours, signal);
  fd_ = signalfd(-1, &ours, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd_ < 0) fail(Fault::internal, "signalfd: {}", std::strerror(errno));
  pthread_sigmask(SIG_BLOCK, &ours, &previous_);
  struct sigaction action{};
  action.sa_sigaction = &send_again;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  action.sa_mask = ours;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &action, &actions_[i]);
  }
}

Signals::~Signals() {
  while (take()) {  // what is still pending was for us: it must not end the process now
  }
  close(fd_);
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &actions_[i], nullptr);
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
