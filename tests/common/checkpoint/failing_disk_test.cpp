// Each single operation of a checkpoint fails once, or fails and everything after it: the error
// names the file, and the old checkpoint stays.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <iostream>

#include "common/base/error.h"
#include "common/base/file_error.h"
#include "tests/common/checkpoint/sample.h"
#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/common/checkpoint/watched_disk.h"

namespace sheaf::checkpoint {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::ResultOf;

struct Failure {
  const char* name;
  int error;
  bool half;   // of a write is done first
  bool lasts;  // everything after it fails, too
};
constexpr Failure kFailures[] = {{"EIO", EIO, false, false},
                                 {"EIO from here on", EIO, false, true},
                                 {"ENOSPC", ENOSPC, false, false},
                                 {"ENOSPC from here on", ENOSPC, true, true},
                                 {"a short write", EIO, true, false}};

// Fails operation `number`, counted from 0.
class FailingDisk {
 public:
  FailingDisk(Disk& disk, const Failure& failure, int number)
      : failure_(failure), number_(number), disk_(disk, [this](const Operation& o) { on(o); }) {}
  Disk& disk() { return disk_; }
  bool failed() const { return !at_.empty(); }
  // The files of the operations that failed.
  const std::vector<std::string>& at() const { return at_; }

 private:
  void on(const Operation& operation) {
    const bool sync = std::string_view(operation.name) == "sync";
    if (sync && !unsynced_.empty()) {
      EXPECT_NE(operation.path, unsynced_) << "is synced again after a failure";
    }
    const int number = count_++;
    if (number < number_ || (number > number_ && !failure_.lasts)) return;
    if (failure_.half && operation.half) operation.half();
    at_.push_back(operation.path.string());
    if (sync) unsynced_ = operation.path;
    fail(Fault::data, "{}: {}", operation.path.string(), text_of(failure_.error));
  }

  Failure failure_;
  int number_;
  int count_ = 0;
  std::vector<std::string> at_;
  std::filesystem::path unsynced_;
  WatchedDisk disk_;
};

// Returns false when the checkpoint has fewer operations.
bool fail_once(const Sample& sample, VirtualDisk disk, const Failure& failure, int number) {
  FailingDisk failing(disk, failure, number);
  bool committed = false;
  std::string error;
  try {
    sample.save(failing.disk(), kRun, kNew);
    committed = true;
    Store(failing.disk(), kRun).prune(1, kNew);
  } catch (const Error& e) {
    error = e.message();
  }
  const std::string context = fmt::format("operation {}: {}", number, failure.name);
  if (!error.empty()) {
    EXPECT_THAT(
        failing.at(),
        Contains(ResultOf(
            [&](const std::string& path) { return error.find(path) != std::string::npos; }, true)))
        << context << ": " << error;
  }
  for (const std::uint64_t seed : {1U, 0U, 2U, 3U}) {  // 1: no crash follows
    VirtualDisk after = disk;
    after.crash(seed);
    const auto newest = newest_step(after, kRun);
    EXPECT_TRUE(newest == kNew || (newest == kOld && !committed)) << context << ", seed " << seed;
    const Store store(after, kRun);
    for (Checkpoint& checkpoint : store.list()) {
      EXPECT_TRUE(store.verify(checkpoint)) << context << ", step " << checkpoint.step;
    }
  }
  // The next checkpoint is written as if nothing had been.
  sample.save(disk, kRun, kNew + 10);
  Store store(disk, kRun);
  store.prune(1, kNew + 10);
  EXPECT_EQ(newest_step(disk, kRun), kNew + 10) << context;
  EXPECT_THAT(store.leftovers(), testing::IsEmpty()) << context;
  return failing.failed();
}

TEST(FailingDiskTest, EveryFailureNamesItsFileAndLeavesTheOldCheckpoint) {
  const Sample sample;
  VirtualDisk disk;
  disk.make_folder(kRun);
  sample.save(disk, kRun, kOld);
  for (const Failure& failure : kFailures) {
    int points = 0;
    while (fail_once(sample, disk, failure, points)) ++points;
    EXPECT_GT(points, 50);
    std::cout << fmt::format("{}: {} points\n", failure.name, points);
  }
}

TEST(FailingDiskTest, WhatCannotBeReadIsDamageOfThatFileAndTheOlderCheckpointIsTaken) {
  const Sample sample;
  VirtualDisk disk;
  disk.make_folder(kRun);
  sample.save(disk, kRun, kOld);
  sample.save(disk, kRun, kNew);
  const std::string folder = kRun / "step-000000000120";
  int refused = 0;
  for (int number = 0;; ++number) {
    FailingDisk failing(disk, kFailures[0], number);
    Store::Choice choice;
    try {
      choice = Store(failing.disk(), kRun).newest_verified();
    } catch (const Error& error) {
      EXPECT_THAT(failing.at(), ElementsAre(kRun.string()))
          << "only without the list of checkpoints nothing is known";
      continue;
    }
    ASSERT_TRUE(choice.manifest);
    if (!failing.failed()) break;
    if (choice.refused.empty()) {
      EXPECT_EQ(choice.manifest->step, kNew) << failing.at().at(0);
      continue;
    }
    ++refused;
    EXPECT_EQ(choice.manifest->step, kOld);
    EXPECT_THAT(choice.refused.at(0).damage.at(0).text(), testing::HasSubstr(failing.at().at(0)));
    EXPECT_THAT(failing.at(), ElementsAre(testing::StartsWith(folder)));
  }
  EXPECT_GT(refused, 10);
}

}  // namespace
}  // namespace sheaf::checkpoint
