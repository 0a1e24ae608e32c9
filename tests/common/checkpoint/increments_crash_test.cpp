// A crash of the machine, or an error, at each single operation of a checkpoint that names files of
// older ones, and of the removal of those that it has to leave files of: whatever the disk makes of
// what was not synced, the newest checkpoint that verifies is the one before or the new one, with
// its values, and none is damaged.
#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <set>

#include "common/base/error.h"
#include "common/checkpoint/names.h"
#include "tests/common/checkpoint/crash_points.h"
#include "tests/common/checkpoint/increments.h"

namespace sheaf::checkpoint {
namespace {

constexpr std::uint64_t kCrashes = 200;  // at each point
constexpr Step kFirst = 90, kSecond = 100;

// Server 0 changes one chunk from one to the next, server 1 none but between the second and third.
struct History {
  History() : model(6) {
    disk.make_folder(kRun);
    save(disk, kFirst, {}, {0, 1, 2, 3, 4, 5});
    save(disk, kSecond, kFirst, {0});
    save(disk, kOld, kSecond, {0, model.sample.shards.chunks_of({1, 0}).front()});
  }
  void save(Disk& on, Step step, std::optional<Step> base, const std::vector<std::uint32_t>& ids) {
    model.change(ids, step);
    values[step] = model.changed();
    model.save(on, step, base);
  }

  Increments model;
  VirtualDisk disk;
  std::map<Step, std::vector<Step>> values;  // of each checkpoint
};

// The newest that is whole, with the values that it had; nothing if it has others.
std::optional<Step> newest_right(Disk& disk, const History& history) {
  const auto choice = Store(disk, kRun).newest_verified();
  if (!choice.manifest) return std::nullopt;
  const Step step = choice.manifest->step;
  EXPECT_TRUE(history.values.contains(step));
  EXPECT_TRUE(holds(disk, *choice.manifest, history.values.at(step))) << step;
  return step;
}

void expect_none_is_damaged(Disk& disk, const std::string& when) {
  const Store store(disk, kRun);
  for (Checkpoint& checkpoint : store.list()) {
    EXPECT_TRUE(store.verify(checkpoint)) << when << ": " << checkpoint.damage.at(0).text();
  }
}

// The job goes on with what is there, changes everything, and cleans up.
void go_on(Disk& disk, History history, Step newest, const std::string& when) {
  history.save(disk, kNew + 10, newest, {1});
  EXPECT_EQ(newest_right(disk, history), kNew + 10) << when;
  Store store(disk, kRun);
  store.prune(1, kNew + 10);
  EXPECT_EQ(newest_right(disk, history), kNew + 10) << when;
  EXPECT_EQ(store.leftovers(), std::vector<std::string>()) << when;
  history.save(disk, kNew + 20, kNew + 10, {0, 1, 2, 3, 4, 5});
  store.prune(1, kNew + 20);
  EXPECT_EQ(newest_right(disk, history), kNew + 20) << when;
  EXPECT_EQ(disk.list(kRun).size(), 1U) << when << ": only its own folder is needed";
}

// The new one names files of three older ones, which go but for those files.
std::vector<Moment> moments(History& history) {
  bool committed = false;
  return watch(history.disk, committed, [&](Disk& watched) {
    history.save(watched, kNew, kOld, {0});
    committed = true;
    Store(watched, kRun).prune(1, kNew);
  });
}

TEST(IncrementsCrashTest, LeavesTheOldCheckpointOrTheNewOne) {
  History history;
  const std::vector<Moment> all = moments(history);
  std::set<std::optional<Step>> seen;
  for (const Moment& moment : all) {
    for (std::uint64_t seed = 0; seed < kCrashes; ++seed) {
      VirtualDisk disk = moment.disk;
      disk.crash(seed);
      const std::string when = fmt::format("crash before {}, seed {}", moment.before, seed);
      expect_none_is_damaged(disk, when);
      const auto newest = newest_right(disk, history);
      EXPECT_TRUE(newest == kNew || (newest == kOld && !moment.committed)) << when;
      seen.insert(newest);
      if (seed < 10 && newest) go_on(disk, history, *newest, when);
    }
  }
  EXPECT_EQ(seen, (std::set<std::optional<Step>>{kOld, kNew})) << "there are both";
  std::cout << fmt::format("{} crash points, {} crashes\n", all.size(), all.size() * kCrashes);
}

// Back to an older checkpoint: newer ones are removed, one after the other, newest first.
TEST(IncrementsCrashTest, RemovingNewerOnesLeavesTheOlderWhole) {
  History history;
  bool committed = true;
  const std::vector<Moment> all = watch(history.disk, committed, [&](Disk& watched) {
    Store store(watched, kRun);
    store.remove(kOld);
    store.remove(kSecond);
  });
  for (const Moment& moment : all) {
    for (std::uint64_t seed = 0; seed < kCrashes; ++seed) {
      VirtualDisk disk = moment.disk;
      disk.crash(seed);
      const std::string when = fmt::format("crash before {}, seed {}", moment.before, seed);
      expect_none_is_damaged(disk, when);
      const auto newest = newest_right(disk, history);
      EXPECT_TRUE(newest && *newest >= kFirst) << when;
      EXPECT_TRUE(Store(disk, kRun).has(kFirst)) << when;
    }
  }
  EXPECT_EQ(newest_right(history.disk, history), kFirst);
}

// A server whose disk fails at any operation has no part, whether it writes, reads what an older
// checkpoint has, or could have gone on without reading that; all others stay as they are.
TEST(IncrementsCrashTest, AnErrorAtAnyOperationLeavesTheOldOne) {
  std::size_t failed = 0;
  bool reached = true;
  for (std::size_t number = 0; reached; ++number) {
    History history;
    std::size_t count = 0;
    reached = false;
    WatchedDisk watched(history.disk, [&](const Operation& operation) {
      if (count++ != number) return;
      reached = true;
      fail(Fault::data, "{}: cannot be {}: test", operation.path.string(), operation.name);
    });
    bool done = true;
    try {
      history.save(watched, kNew, kOld, {0});
    } catch (const Error&) {
      done = false;
      ++failed;
    }
    const std::string when = fmt::format("error at operation {}", number);
    expect_none_is_damaged(history.disk, when);
    const auto newest = newest_right(history.disk, history);
    EXPECT_TRUE(newest == kNew || (!done && newest == kOld)) << when;
  }
  EXPECT_GT(failed, 15U);
}

}  // namespace
}  // namespace sheaf::checkpoint
