// The same with real processes and the real kernel: a child ends itself with SIGKILL at each single
// operation of a checkpoint, in the middle of a write, too.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>

#include "common/checkpoint/posix_disk.h"
#include "tests/common/checkpoint/sample.h"
#include "tests/common/checkpoint/watched_disk.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::checkpoint {
namespace {

// Returns the status of a child that writes the new checkpoint and prunes, killed at operation
// `number`.
int run_child(const Sample& sample, const std::filesystem::path& checkpoints, int number) {
  const pid_t child = ::fork();
  if (child == 0) {
    PosixDisk disk;
    int count = 0;
    WatchedDisk watched(disk, [&](const Operation& operation) {
      if (count++ != number) return;
      if (operation.half) operation.half();
      ::kill(::getpid(), SIGKILL);
    });
    sample.save(watched, checkpoints, kNew);
    Store(watched, checkpoints).prune(1, kNew);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(KilledProcessTest, LeavesTheOldCheckpointOrTheNewOne) {
  const Sample sample;
  PosixDisk disk;
  int points = 0;
  for (bool killed = true; killed; ++points) {
    const launcher::TemporaryFolder run;
    const auto checkpoints = run / "checkpoints";
    disk.make_folder(checkpoints);
    sample.save(disk, checkpoints, kOld);
    const int status = run_child(sample, checkpoints, points);
    killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!killed) {
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    const auto newest = newest_step(disk, checkpoints);
    EXPECT_TRUE(newest == kNew || (newest == kOld && killed)) << "killed at " << points;
    Store store(disk, checkpoints);
    for (Checkpoint& checkpoint : store.list()) EXPECT_TRUE(store.verify(checkpoint)) << points;

    const Step next = newest == kOld ? kNew : kNew + 10;  // the job is started again
    sample.save(disk, checkpoints, next);
    store.prune(1, next);
    EXPECT_EQ(newest_step(disk, checkpoints), next) << points;
    EXPECT_THAT(store.leftovers(), testing::IsEmpty()) << points;
  }
  EXPECT_GT(points, 50);
  std::cout << fmt::format("killed at {} points\n", points - 1);
}

}  // namespace
}  // namespace sheaf::checkpoint
