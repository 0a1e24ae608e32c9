#include "launcher/system/signals.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "launcher/system/child.h"
#include "tests/launcher/system/fifo.h"

namespace sheaf::launcher {
namespace {

bool is_blocked(int signal) {
  sigset_t now;
  pthread_sigmask(SIG_BLOCK, nullptr, &now);
  return sigismember(&now, signal) == 1;
}

TEST(Signals, ArriveAsEvents) {
  Signals signals;
  EXPECT_EQ(signals.take(), std::nullopt);
  for (const int signal : {SIGTERM, SIGUSR1}) {
    kill(getpid(), signal);
    EXPECT_TRUE(becomes_readable(signals.fd()));
    EXPECT_EQ(signals.take(), signal);
    EXPECT_EQ(signals.take(), std::nullopt);
  }
  EXPECT_EQ(signals.interrupts(), 0);
}

TEST(Signals, InterruptsAreCounted) {
  Signals signals;
  for (int count = 1; count <= 2; ++count) {
    kill(getpid(), SIGINT);
    EXPECT_TRUE(becomes_readable(signals.fd()));
    EXPECT_EQ(signals.take(), SIGINT);
    EXPECT_EQ(signals.interrupts(), count);
  }
}

// The next signal. The descriptor may become readable for one that another thread then gets and
// sends once more.
std::optional<int> next_of(Signals& signals) {
  while (becomes_readable(signals.fd())) {
    if (const auto signal = signals.take()) return signal;
  }
  return std::nullopt;
}

// As OpenBLAS starts one while it is loaded.
TEST(Signals, AThreadThatWasThereBeforePassesThemOn) {
  std::promise<void> end;
  const std::jthread earlier([ended = end.get_future()] { ended.wait(); });
  {
    Signals signals;
    for (const int signal : {SIGTERM, SIGINT, SIGINT}) {
      kill(getpid(), signal);
      EXPECT_EQ(next_of(signals), signal);
    }
  }
  end.set_value();
}

TEST(Signals, TheEndOfAChildIsAnEvent) {
  Signals signals;
  Child child({.argv = {"/bin/true"}, .output = "/dev/null", .errors = "/dev/null"});
  ASSERT_TRUE(becomes_readable(signals.fd()));
  EXPECT_EQ(signals.take(), SIGCHLD);
  EXPECT_EQ(child.ended(), ExitStatus{});
}

TEST(Signals, DestructionRestoresTheMaskAndDropsWhatIsPending) {
  ASSERT_FALSE(is_blocked(SIGINT));
  {
    const Signals signals;
    EXPECT_TRUE(is_blocked(SIGINT));
    kill(getpid(), SIGINT);  // would end the test if it were delivered afterwards
  }
  EXPECT_FALSE(is_blocked(SIGINT));
  EXPECT_FALSE(is_blocked(SIGCHLD));
}

}  // namespace
}  // namespace sheaf::launcher
