#include "common/checkpoint/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/checkpoint/names.h"
#include "common/checkpoint/reader.h"
#include "tests/common/checkpoint/sample.h"
#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/common/checkpoint/watched_disk.h"

namespace sheaf::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class StoreTest : public testing::Test {
 protected:
  StoreTest() { disk_.make_folder(kRun); }

  std::filesystem::path folder(Step step) const { return kRun / folder_name(step); }
  void put(const std::filesystem::path& path) {
    disk_.create(path)->write_at(0, std::as_bytes(std::span("x")));
  }
  void save(std::initializer_list<Step> steps) {
    for (const Step step : steps) sample_.save(disk_, kRun, step);
  }
  std::vector<Step> steps() const {
    std::vector<Step> steps;
    for (const Checkpoint& checkpoint : store_.list()) steps.push_back(checkpoint.step);
    return steps;
  }
  std::vector<std::string> names(const std::filesystem::path& path) {
    std::vector<std::string> names;
    for (const Disk::Entry& entry : disk_.list(path)) names.push_back(entry.name);
    return names;
  }
  // Flips a bit of the first value of the first file of a step.
  void damage(Step step) {
    disk_.bytes(folder(step) / "server-0.safetensors").back() ^= std::byte{1};
  }
  Sample sample_;
  VirtualDisk disk_;
  Store store_{disk_, kRun};
};

TEST_F(StoreTest, ARunWithoutCheckpointsHasNone) {
  EXPECT_THAT(store_.list(), IsEmpty());
  EXPECT_THAT(store_.leftovers(), IsEmpty());
  EXPECT_FALSE(store_.newest_verified().manifest);
  EXPECT_THAT(Store(disk_, "/run/nowhere").list(), IsEmpty());
}

// FORMAT.md, "Order of writing". Which of these a crash can do without, CrashTest knows; a host
// with a run directory of its own, and one that shares it, need different ones.
TEST_F(StoreTest, EverythingIsDoneInTheOrderOfTheFormat) {
  std::vector<std::string> operations;
  WatchedDisk watched(disk_, [&](const Operation& o) {
    if (o.changes) {
      operations.push_back(o.name + (" " + o.path.lexically_relative("/run").string()));
    }
  });
  Sample sample;
  sample.shards = params::ShardMap(sample.chunks, 1, 1);
  sample.servers = 1;
  sample.state = 0;
  const DataFileParts parts = sample.parts(1, 0);
  Store store(watched, kRun);
  store.begin(1);
  EXPECT_THAT(operations,
              ElementsAre("make_folder checkpoints", "make_folder checkpoints/step-000000000001",
                          "sync_folder checkpoints", "sync_folder ."));
  operations.clear();
  Manifest manifest = sample.empty_manifest(1);
  manifest.add(sample.write(watched, kRun, 1, 0));
  const std::string file = " checkpoints/step-000000000001/server-0.safetensors";
  std::vector<std::string> expected = {"make_folder checkpoints/step-000000000001",
                                       "remove" + file + ".tmp", "create" + file + ".tmp",
                                       "reserve" + file + ".tmp"};
  expected.insert(expected.end(), 1 + parts.ids.size(), "write" + file + ".tmp");
  expected.insert(expected.end(),
                  {"sync" + file + ".tmp", "rename" + file + ".tmp",
                   "sync_folder checkpoints/step-000000000001", "sync_folder checkpoints"});
  EXPECT_EQ(operations, expected);
  operations.clear();
  store.commit(manifest);
  const std::string text = " checkpoints/step-000000000001/MANIFEST.tmp";
  EXPECT_THAT(operations,
              ElementsAre("remove" + text, "create" + text, "reserve" + text, "write" + text,
                          "sync" + text, "rename" + text,
                          "sync_folder checkpoints/step-000000000001", "sync_folder checkpoints"));
}

TEST_F(StoreTest, CheckpointsAreListedByStepNewestFirst) {
  save({9, 10, 1'000'000'000'000});
  EXPECT_THAT(steps(), ElementsAre(1'000'000'000'000, 10, 9));
  EXPECT_EQ(newest_step(disk_, kRun), 1'000'000'000'000);
}

TEST_F(StoreTest, TheNewestThatIsWholeIsTakenAndTheOthersAreRefusedByName) {
  save({1, 2, 3, 4});
  damage(4);
  disk_.bytes(folder(3) / kManifest)[20] ^= std::byte{1};
  const Store::Choice choice = store_.newest_verified();
  ASSERT_TRUE(choice.manifest);
  EXPECT_EQ(choice.manifest->step, 2U);
  ASSERT_EQ(choice.refused.size(), 2U);
  EXPECT_EQ(choice.refused[0].step, 4U);
  EXPECT_TRUE(choice.refused[0].manifest);
  EXPECT_THAT(choice.refused[0].damage.at(0).text(),
              HasSubstr("step-000000000004/server-0.safetensors: "));
  EXPECT_EQ(choice.refused[1].step, 3U);
  EXPECT_FALSE(choice.refused[1].manifest);
  EXPECT_THAT(choice.refused[1].damage.at(0).text(),
              HasSubstr("step-000000000003/MANIFEST: expected"));
}

TEST_F(StoreTest, AManifestBelongsToItsFolder) {
  sample_.save(disk_, kRun, 1);
  disk_.make_folder(folder(2));
  disk_.rename(folder(1) / kManifest, folder(2) / kManifest);
  EXPECT_THAT(store_.list().at(0).damage.at(0).text(), HasSubstr("it is of step 1"));
}

TEST_F(StoreTest, AHugeManifestIsRefusedBeforeItIsRead) {
  disk_.make_folder(folder(2));
  disk_.create(folder(2) / kManifest)->reserve(kMaxManifestBytes + 1);
  EXPECT_THAT(store_.list().at(0).damage.at(0).text(), HasSubstr("it has 64000001 bytes"));
}

TEST_F(StoreTest, ACheckpointIsNotWrittenOverAnother) {
  sample_.save(disk_, kRun, 5);
  for (const Step step : {Step{4}, Step{5}}) {
    try {
      store_.begin(step);
      ADD_FAILURE() << step;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::checkpoint);
      EXPECT_THAT(error.message(), HasSubstr("there is a checkpoint of step 5"));
    }
  }
  store_.remove(5);
  EXPECT_THAT(names(kRun), IsEmpty());
  sample_.save(disk_, kRun, 4);
  EXPECT_EQ(newest_step(disk_, kRun), 4U);
}

TEST_F(StoreTest, WhatACrashHasLeftIsNamedAndGoesWhenTheStepComesAgain) {
  sample_.save(disk_, kRun, 5);
  store_.begin(6);
  sample_.write(disk_, kRun, 6, 1);
  put(folder(6) / "MANIFEST.tmp");
  put(folder(5) / "server-0.safetensors.tmp");
  put(kRun / "notes.txt");
  EXPECT_THAT(steps(), ElementsAre(5)) << "a folder without a manifest is no checkpoint";
  EXPECT_THAT(
      store_.leftovers(),
      ElementsAre("notes.txt", "step-000000000005/server-0.safetensors.tmp", "step-000000000006/"));
  store_.begin(6);
  EXPECT_THAT(names(folder(6)), IsEmpty());
}

TEST_F(StoreTest, FilesBesideADamagedManifestMayBelongToIt) {
  sample_.save(disk_, kRun, 5);
  disk_.bytes(folder(5) / kManifest)[0] = std::byte{'x'};
  EXPECT_THAT(store_.leftovers(), IsEmpty());
}

TEST_F(StoreTest, PruningKeepsTheNewestAndTheVerifiedOne) {
  save({1, 2, 3, 4, 5});
  damage(5);
  damage(4);
  store_.prune(2, 2);
  EXPECT_THAT(steps(), ElementsAre(5, 4, 2));
  EXPECT_EQ(newest_step(disk_, kRun), 2U);
  store_.prune(1, 2);
  EXPECT_THAT(steps(), ElementsAre(5, 2));
  EXPECT_THAT(names(kRun), ElementsAre("step-000000000002", "step-000000000005"));
}

TEST_F(StoreTest, PruningClearsWhatCrashesHaveLeftButTouchesNoOtherFiles) {
  sample_.save(disk_, kRun, 1);
  store_.begin(2);
  sample_.write(disk_, kRun, 2, 0);
  disk_.make_folder(folder(3));
  put(folder(3) / "mine.txt");
  put(folder(3) / "server-0.safetensors.tmp");
  sample_.save(disk_, kRun, 4);
  put(folder(4) / "MANIFEST.tmp");
  sample_.write(disk_, kRun, 9, 1);  // is being written
  store_.prune(1, 4);
  EXPECT_THAT(names(kRun),
              ElementsAre("step-000000000003", "step-000000000004", "step-000000000009"));
  EXPECT_THAT(names(folder(3)), ElementsAre("mine.txt"));
  EXPECT_THAT(names(folder(4)),
              ElementsAre("MANIFEST", "server-0.safetensors", "server-1.safetensors"));
  EXPECT_THAT(names(folder(9)), ElementsAre("server-1.safetensors"));
}

TEST_F(StoreTest, PruningRemovesNothingIfTheManifestsThatCountCannotBeRead) {
  save({1, 2, 3});
  for (const Step broken : {Step{3}, Step{1}}) {
    std::byte& byte = disk_.bytes(folder(broken) / kManifest)[0];
    const std::byte before = byte;
    byte = std::byte{'x'};
    EXPECT_THROW(store_.prune(1, 1), Error) << broken;
    EXPECT_THAT(steps(), ElementsAre(3, 2, 1));
    byte = before;
  }
  store_.prune(1, 1);
  EXPECT_THAT(steps(), ElementsAre(3, 1));
}

TEST_F(StoreTest, FilesThatAYoungerCheckpointRefersToStay) {
  const Manifest first = sample_.save(disk_, kRun, 1);
  sample_.save(disk_, kRun, 2);
  const Manifest third = sample_.save_increment(disk_, kRun, 3, first);
  EXPECT_TRUE(store_.newest_verified().manifest);
  store_.prune(1, 3);
  EXPECT_THAT(steps(), ElementsAre(3));
  EXPECT_THAT(names(folder(1)), ElementsAre("server-0.safetensors"));
  EXPECT_THAT(store_.leftovers(), IsEmpty());

  const Store::Choice choice = store_.newest_verified();
  ASSERT_TRUE(choice.manifest);
  EXPECT_EQ(choice.manifest->step, 3U);
  Reader reader(disk_, kRun, *choice.manifest);
  for (const StoredChunk& chunk : third.chunks) {
    std::vector<float> values(chunk.size);
    reader.read(chunk.offset, values, {});
    EXPECT_EQ(values, parameters_of(chunk.file == 0 ? 1 : 3, chunk.offset, chunk.size));
  }
  damage(1);
  EXPECT_THAT(store_.newest_verified().refused.at(0).damage.at(0).file,
              "step-000000000001/server-0.safetensors");
  store_.remove(3);
  EXPECT_THAT(store_.leftovers(), ElementsAre("step-000000000001/")) << "nobody needs it any more";
}

}  // namespace
}  // namespace sheaf::checkpoint
