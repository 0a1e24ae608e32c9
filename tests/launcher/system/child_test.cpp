// Real processes: a shell stands for mpirun.
#include "launcher/system/child.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "common/base/error.h"
#include "launcher/system/process_identity.h"
#include "tests/harness/temporary_folder.h"
#include "tests/launcher/system/fifo.h"

namespace sheaf::launcher {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;

class ChildTest : public testing::Test {
 protected:
  // A shell that runs `script`; its output and errors go to the files of that name.
  ChildCommand shell(const std::string& script) const {
    return {.argv = {"/bin/sh", "-c", script},
            .output = folder_ / "output",
            .errors = folder_ / "errors"};
  }
  std::string output() const { return contents_of(folder_ / "output"); }

  // What the constructor throws for `command`.
  static std::string refusal(const ChildCommand& command) {
    try {
      Child child(command);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::config);
      return error.message();
    }
    return "nothing was thrown";
  }

  TemporaryFolder temporary_;
  std::filesystem::path folder_ = temporary_.path();
};

TEST_F(ChildTest, OutputAndErrorsAreAppendedToTheirFiles) {
  std::ofstream(folder_ / "output") << "before\n";
  Child child(shell("echo to output; echo to errors >&2"));
  EXPECT_EQ(child.wait(kDeadline), ExitStatus{});
  EXPECT_EQ(output(), "before\nto output\n");
  EXPECT_EQ(contents_of(folder_ / "errors"), "to errors\n");
}

TEST_F(ChildTest, ExitCodeAndSignalAreReported) {
  Child three(shell("exit 3"));
  EXPECT_EQ(three.wait(kDeadline), ExitStatus{.code = 3});
  EXPECT_EQ(to_string(*three.ended()), "exit code 3");
  Child killed(shell("kill -KILL $$"));
  EXPECT_EQ(killed.wait(kDeadline), ExitStatus{.signal = SIGKILL});
  EXPECT_EQ(to_string(*killed.ended()), "killed by signal 9 (Killed)");
}

TEST_F(ChildTest, AProgramThatCannotBeExecutedIsAnErrorAndLeavesNoProcess) {
  ChildCommand command = shell("");
  command.argv = {folder_ / "missing"};
  EXPECT_THAT(refusal(command), AllOf(HasSubstr("missing"), HasSubstr("No such file")));
  std::ofstream(folder_ / "plain") << "not a program";
  command.argv = {folder_ / "plain"};
  EXPECT_THAT(refusal(command), AllOf(HasSubstr("plain"), HasSubstr("Permission denied")));
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(ChildTest, AnOutputFileThatCannotBeOpenedIsAnError) {
  ChildCommand command = shell("true");
  command.output = folder_ / "no" / "such" / "folder";
  EXPECT_THAT(refusal(command), AllOf(HasSubstr("no/such/folder"), HasSubstr("No such file")));
}

TEST_F(ChildTest, EnvironmentIsAddedToOursAndReplacesIt) {
  setenv("SHEAF_TEST_KEPT", "kept", 1);
  setenv("SHEAF_TEST_REPLACED", "old", 1);
  ChildCommand command = shell(
      "echo $SHEAF_TEST_KEPT $SHEAF_TEST_REPLACED $SHEAF_TEST_ADDED; "
      "env | grep -c SHEAF_TEST_REPLACED");
  command.environment = {{"SHEAF_TEST_REPLACED", "new"}, {"SHEAF_TEST_ADDED", "a b"}};
  Child child(command);
  EXPECT_EQ(child.wait(kDeadline), ExitStatus{});
  EXPECT_EQ(output(), "kept new a b\n1\n");
}

TEST_F(ChildTest, ItHasItsOwnSessionAndNoInput) {
  Fifo up(folder_ / "up");
  Child child(shell("cat; echo up > " + up.file().string() + "; exec sleep 100"));
  EXPECT_EQ(up.line(), "up");  // cat met the end of the input
  EXPECT_EQ(getsid(child.pid()), child.pid());
  EXPECT_NE(getsid(child.pid()), getsid(0));
}

TEST_F(ChildTest, OtherDescriptorsAreClosed) {
  const int inheritable = open("/dev/null", O_RDONLY);
  ASSERT_GE(inheritable, 0);
  Child child(shell("test -e /proc/self/fd/" + std::to_string(inheritable)));
  EXPECT_EQ(child.wait(kDeadline), ExitStatus{.code = 1});
  close(inheritable);
}

// Then the files that the parent opens for the child get the numbers 0, 1 and 2.
TEST_F(ChildTest, AParentWithoutStandardStreamsStartsItAllTheSame) {
  const pid_t parent = fork();
  if (parent == 0) {
    for (int fd = 0; fd < 3; ++fd) close(fd);
    bool refused = false;
    try {
      Child missing({.argv = {"/no/such/program"}, .output = "/dev/null", .errors = "/dev/null"});
    } catch (const Error&) {
      refused = true;
    }
    Child child(shell("cat; echo to output; echo to errors >&2"));
    _exit(refused && child.wait(kDeadline) == ExitStatus{} ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(parent, &status, 0), parent);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(output(), "to output\n");
  EXPECT_EQ(contents_of(folder_ / "errors"), "to errors\n");
}

TEST_F(ChildTest, BlockedAndIgnoredSignalsAreNotInherited) {
  sigset_t term;
  sigset_t before;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, &before);
  const auto previous = ::signal(SIGPIPE, SIG_IGN);
  {
    Child blocked(shell("exec sleep 100"));
    EXPECT_EQ(blocked.terminate(kDeadline), ExitStatus{.signal = SIGTERM});
    Child ignored(shell("kill -PIPE $$"));
    EXPECT_EQ(ignored.wait(kDeadline), ExitStatus{.signal = SIGPIPE});
  }
  ::signal(SIGPIPE, previous);
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(ChildTest, PidfdIsReadableOnceTheProcessHasEnded) {
  Child child(shell("exec sleep 100"));
  if (child.pidfd() < 0) GTEST_SKIP() << "this kernel has no pidfd";
  pollfd event{.fd = child.pidfd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&event, 1, 0), 0);
  EXPECT_EQ(child.ended(), std::nullopt);
  child.signal(SIGKILL);
  EXPECT_TRUE(becomes_readable(child.pidfd()));
  EXPECT_EQ(child.ended(), ExitStatus{.signal = SIGKILL});
}

TEST_F(ChildTest, WaitGivesUpAfterItsPatience) {
  Child child(shell("exec sleep 100"));
  EXPECT_EQ(child.wait(milliseconds(20)), std::nullopt);
}

TEST_F(ChildTest, AProcessThatIgnoresSigtermIsKilledAfterTheGrace) {
  Fifo up(folder_ / "up");
  Child child(shell("trap '' TERM; echo up > " + up.file().string() + "; exec sleep 100"));
  ASSERT_EQ(up.line(), "up");
  const milliseconds grace(100);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(child.terminate(grace), ExitStatus{.signal = SIGKILL});
  EXPECT_GE(std::chrono::steady_clock::now() - start, grace);
}

TEST_F(ChildTest, AStoppedProcessIsKilledAfterTheGrace) {
  Child child(shell("exec sleep 100"));
  child.signal(SIGSTOP);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &info, WSTOPPED), 0);
  EXPECT_EQ(child.terminate(milliseconds(50)), ExitStatus{.signal = SIGKILL});
}

TEST_F(ChildTest, AfterTheEndASignalGoesNowhere) {
  Child child(shell("true"));
  EXPECT_EQ(child.wait(kDeadline), ExitStatus{});
  child.signal(SIGKILL);
  EXPECT_EQ(child.terminate(kDeadline), ExitStatus{});
}

TEST_F(ChildTest, DestructionKillsAndReaps) {
  pid_t pid = 0;
  {
    Child child(shell("exec sleep 100"));
    pid = child.pid();
  }
  EXPECT_EQ(waitpid(pid, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(ChildTest, AnExitCodeThatTheKernelDidNotKeepIsUnknownAndNoHang) {
  const auto previous = ::signal(SIGCHLD, SIG_IGN);  // as some parents leave it behind
  Child child(shell("exit 3"));
  EXPECT_EQ(child.wait(kDeadline), ExitStatus{.code = -1});
  ::signal(SIGCHLD, previous);
}

// The supervisor here is a fork of the test that starts a child, tells its pid and is killed.
TEST_F(ChildTest, ItOutlivesASupervisorThatIsKilled) {
  Fifo up(folder_ / "up");
  Fifo go(folder_ / "go");
  const pid_t supervisor = fork();
  if (supervisor == 0) {
    Child child(shell("echo $$ > " + up.file().string() + "; read word < " + go.file().string() +
                      "; echo $word; echo $word >&2; echo wrote > " + up.file().string()));
    pause();
    _exit(0);
  }
  const std::string pid = up.line();
  ASSERT_FALSE(pid.empty());
  const auto orphan = identify(std::stoi(pid));
  ASSERT_TRUE(orphan);
  kill(supervisor, SIGKILL);
  ASSERT_EQ(waitpid(supervisor, nullptr, 0), supervisor);

  EXPECT_EQ(identify(orphan->pid), orphan);
  go.write_line("goes-on");
  EXPECT_EQ(up.line(), "wrote");
  EXPECT_EQ(output(), "goes-on\n");
}

TEST(OutputOf, ReturnsWhatTheCommandPrinted) {
  EXPECT_EQ(output_of({"/bin/sh", "-c", "echo one; echo two >&2"}, kDeadline), "one\ntwo\n");
}

TEST(OutputOf, AFailureCarriesTheOutput) {
  try {
    output_of({"/bin/sh", "-c", "echo broken; exit 4"}, kDeadline);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "/bin/sh: exit code 4: broken\n");
  }
}

TEST(OutputOf, ACommandThatDoesNotEndIsKilled) {
  EXPECT_THROW(output_of({"/bin/sh", "-c", "exec sleep 100"}, milliseconds(50)), Error);
}

}  // namespace
}  // namespace sheaf::launcher
