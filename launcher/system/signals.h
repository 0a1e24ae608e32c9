// SIGINT, SIGTERM, SIGUSR1 and SIGCHLD as events on a descriptor, taken in a loop and not in a
// handler. One object per process, made before any other thread of ours starts, so that every
// thread inherits the blocked signals; threads that libraries started earlier pass them on. Used by
// one thread; signal mask and actions are restored at the end.
#pragma once

#include <signal.h>

#include <array>
#include <optional>

namespace sheaf::launcher {

class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Readable when take() has something. Borrowed.
  int fd() const { return fd_; }

  // The next signal that has arrived, if any; never blocks. Signals of one kind that arrive before
  // they are taken are one.
  std::optional<int> take();

  // How many SIGINTs were taken: the first asks for a clean end, the second for an end at once.
  int interrupts() const { return interrupts_; }

 private:
  int fd_ = -1;
  int interrupts_ = 0;
  sigset_t previous_{};
  std::array<struct sigaction, 4> actions_{};
};

}  // namespace sheaf::launcher
