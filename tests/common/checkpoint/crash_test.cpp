// A crash of the machine before each single operation that changes a disk, while a checkpoint is
// written and the older ones are removed: whatever the disk makes of what was not synced, the
// newest checkpoint that verifies is the old one or the new one, and none is damaged.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <iostream>

#include "tests/common/checkpoint/crash_points.h"
#include "tests/common/checkpoint/sample.h"

namespace sheaf::checkpoint {
namespace {

constexpr Step kOldest = 100;
constexpr std::uint64_t kSeeds = 300;  // at each point

// Two older checkpoints, what a crash has left of the new one; then the new one, and pruning.
std::vector<Moment> moments(const Sample& sample, VirtualDisk disk) {
  disk.make_folder(kRun);
  sample.save(disk, kRun, kOldest);
  sample.save(disk, kRun, kOld);
  Store(disk, kRun).begin(kNew);
  sample.write(disk, kRun, kNew, 1);
  bool committed = false;
  return watch(disk, committed, [&](Disk& watched) {
    sample.save(watched, kRun, kNew);
    committed = true;
    Store(watched, kRun).prune(1, kNew);
  });
}

// What a crash breaks: a line for each.
std::vector<std::string> broken_after(const Moment& moment, std::uint64_t seed) {
  VirtualDisk disk = moment.disk;
  disk.crash(seed);
  std::vector<std::string> broken;
  const Store store(disk, kRun);
  for (Checkpoint& checkpoint : store.list()) {
    if (store.verify(checkpoint)) continue;
    broken.push_back(checkpoint.damage.at(0).text());
  }
  const auto newest = newest_step(disk, kRun);
  const bool right = moment.committed ? newest == kNew : newest == kNew || newest == kOld;
  if (!right) broken.push_back(newest ? fmt::format("step {} is the newest", *newest) : "neither");
  for (std::string& line : broken) {
    line = fmt::format("crash before {}, seed {}: {}", moment.before, seed, line);
  }
  return broken;
}

// The job starts again on what the crash has left, writes the next checkpoint, and cleans up.
void go_on(const Sample& sample, const Moment& moment, std::uint64_t seed) {
  VirtualDisk disk = moment.disk;
  disk.crash(seed);
  const Step next = newest_step(disk, kRun) == kOld ? kNew : kNew + 10;
  sample.save(disk, kRun, next);
  Store store(disk, kRun);
  store.prune(1, next);
  EXPECT_EQ(newest_step(disk, kRun), next) << moment.before << ", seed " << seed;
  EXPECT_EQ(store.list().size(), 1U) << moment.before << ", seed " << seed;
  EXPECT_EQ(store.leftovers(), std::vector<std::string>()) << moment.before << ", seed " << seed;
}

TEST(CrashTest, LeavesTheOldCheckpointOrTheNewOne) {
  const Sample sample;
  const std::vector<Moment> all = moments(sample, VirtualDisk());
  std::set<std::optional<Step>> seen;
  for (const Moment& moment : all) {
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
      for (const std::string& line : broken_after(moment, seed)) ADD_FAILURE() << line;
    }
    VirtualDisk disk = moment.disk;
    disk.crash(0);
    seen.insert(newest_step(disk, kRun));
  }
  EXPECT_EQ(seen, (std::set<std::optional<Step>>{kOld, kNew})) << "there are both";
  std::cout << fmt::format("{} crash points, {} crashes\n", all.size(), all.size() * kSeeds);
}

TEST(CrashTest, TheJobGoesOnAndCleansUp) {
  const Sample sample;
  for (const Moment& moment : moments(sample, VirtualDisk())) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) go_on(sample, moment, seed);
  }
}

TEST(CrashTest, NoManifestOutlivesTheFilesOfOlderCheckpointsThatItNeeds) {
  const Sample sample;
  VirtualDisk disk;
  disk.make_folder(kRun);
  sample.save_increment(disk, kRun, kOld, sample.save(disk, kRun, kOldest));
  sample.save(disk, kRun, kNew);
  bool committed = true;
  const auto prune = [](Disk& watched) { Store(watched, kRun).prune(1, kNew); };
  for (const Moment& moment : watch(disk, committed, prune)) {
    for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
      for (const std::string& line : broken_after(moment, seed)) ADD_FAILURE() << line;
    }
  }
}

// What these tests are worth: a disk that ignores one kind of sync breaks the promise.
TEST(CrashTest, ADiskThatIgnoresSyncsIsFoundOut) {
  for (const bool files : {false, true}) {
    VirtualDisk disk;
    disk.syncs_files = files;
    disk.syncs_folders = !files;
    std::size_t broken = 0;
    for (const Moment& moment : moments(Sample(), disk)) {
      for (std::uint64_t seed = 0; seed < 10; ++seed) broken += broken_after(moment, seed).size();
    }
    EXPECT_GT(broken, 0U) << (files ? "folders" : "files");
  }
}

}  // namespace
}  // namespace sheaf::checkpoint
