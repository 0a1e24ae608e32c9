#include "launcher/system/process_identity.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/system/child.h"
#include "tests/launcher/system/fifo.h"

namespace sheaf::launcher {
namespace {

const ChildCommand kSleep = {
    .argv = {"/bin/sh", "-c", "exec sleep 100"}, .output = "/dev/null", .errors = "/dev/null"};

TEST(ProcessIdentity, AProcessIsTheSameAsItself) {
  const auto self = identify(getpid());
  ASSERT_TRUE(self);
  EXPECT_EQ(self->pid, getpid());
  EXPECT_GT(self->start_ticks, 0u);
  EXPECT_EQ(identify(getpid()), self);
}

// A reused pid differs in nothing but the time of its start.
TEST(ProcessIdentity, AnotherProcessWithTheSamePidIsNotSignalled) {
  Child child(kSleep);
  const auto now = identify(child.pid());
  ASSERT_TRUE(now);
  ProcessIdentity recorded = *now;
  recorded.start_ticks -= 1;
  EXPECT_FALSE(send_signal(recorded, SIGKILL));
  EXPECT_EQ(child.ended(), std::nullopt);
  EXPECT_TRUE(send_signal(*now, SIGKILL));
  EXPECT_EQ(child.wait(kDeadline), ExitStatus{.signal = SIGKILL});
}

TEST(ProcessIdentity, AProcessThatHasEndedIsNobody) {
  Child child(kSleep);
  const auto process = identify(child.pid());
  ASSERT_TRUE(process);
  child.signal(SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(process->pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(identify(process->pid), std::nullopt) << "a zombie";
  EXPECT_FALSE(send_signal(*process, SIGKILL));
  ASSERT_TRUE(child.wait(kDeadline));
  EXPECT_EQ(identify(process->pid), std::nullopt) << "reaped";
  EXPECT_FALSE(send_signal(*process, SIGKILL));
}

TEST(ProcessIdentity, AStoppedProcessIsEndedToo) {
  Child child(kSleep);
  const auto process = identify(child.pid());
  ASSERT_TRUE(process);
  ASSERT_TRUE(send_signal(*process, SIGSTOP));
  EXPECT_TRUE(end_process(*process, kDeadline));
  EXPECT_EQ(child.wait(kDeadline), ExitStatus{.signal = SIGKILL});
  EXPECT_TRUE(end_process(*process, kDeadline)) << "it has ended";
}

// The name stands in the middle of /proc/PID/stat, as it is.
TEST(ProcessIdentity, ANameWithBlanksAndBracketsIsReadOver) {
  const auto before = identify(getpid());
  char name[16] = {};
  prctl(PR_GET_NAME, name);
  prctl(PR_SET_NAME, "a) Z 1 (b) 2");
  const auto renamed = identify(getpid());
  prctl(PR_SET_NAME, name);
  EXPECT_EQ(renamed, before);
}

}  // namespace
}  // namespace sheaf::launcher
