// Checkpoints that name what older ones have: what is written, what is never taken for the same,
// and how much a disk holds at most. Values are a closed form of the step at which a chunk changed.
#include "tests/common/checkpoint/increments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <map>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/checkpoint/base.h"
#include "common/checkpoint/names.h"
#include "common/wire/checksum.h"
#include "tests/common/checkpoint/virtual_disk.h"

namespace sheaf::checkpoint {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kExtent = 256 * 2 * sizeof(float);  // parameters and a run of state

class IncrementsTest : public testing::Test {
 protected:
  IncrementsTest() { disk_.make_folder(kRun); }

  std::vector<std::string> files_in(Step step) {
    std::vector<std::string> names;
    for (const Disk::Entry& entry : disk_.list(kRun / folder_name(step))) {
      names.push_back(entry.name);
    }
    return names;
  }
  static std::vector<std::string> names_of(const Manifest& manifest) {
    std::vector<std::string> names;
    for (const FileEntry& file : manifest.files) names.push_back(file.name);
    return names;
  }
  bool is_whole(Step step) {
    for (Checkpoint& checkpoint : Store(disk_, kRun).list()) {
      if (checkpoint.step == step) return Store(disk_, kRun).verify(checkpoint);
    }
    return false;
  }
  void flip(const std::string& file, std::size_t byte) {
    disk_.bytes(kRun / file)[byte] ^= std::byte{0x10};
  }

  VirtualDisk disk_;
  Increments model_{8};  // chunks
};

constexpr auto kFile0 = "step-000000000010/server-0.safetensors";
constexpr auto kFile1 = "step-000000000010/server-1.safetensors";

TEST_F(IncrementsTest, WhatHasNotChangedIsNotWrittenAgain) {
  const Manifest full = model_.save(disk_, 10, {});
  EXPECT_EQ(full.written_bytes(), full.bytes());
  const std::uint32_t one = model_.sample.shards.chunks_of({0, 0}).at(1);
  model_.change({one}, 20);
  const Manifest next = model_.save(disk_, 20, 10);
  EXPECT_THAT(names_of(next), testing::UnorderedElementsAre(
                                  "step-000000000020/server-0.safetensors", kFile0, kFile1));
  EXPECT_THAT(files_in(20), ElementsAre("MANIFEST", "server-0.safetensors"));
  EXPECT_EQ(next.files[0].bytes, next.files[0].header_bytes + kExtent);
  EXPECT_EQ(next.written_bytes(), next.files[0].bytes);
  EXPECT_TRUE(is_whole(20));
  EXPECT_TRUE(holds(disk_, next, model_.changed()));
}

TEST_F(IncrementsTest, NothingIsWrittenIfNothingHasChanged) {
  model_.save(disk_, 10, {});
  const Manifest next = model_.save(disk_, 20, 10);
  EXPECT_THAT(files_in(20), ElementsAre("MANIFEST"));
  EXPECT_EQ(next.written_bytes(), 0U);
  EXPECT_TRUE(holds(disk_, next, model_.changed()));
}

// The polynomial of CRC-32C itself, as the 33 bits that it has, changes no checksum wherever it is
// added to a message: x^32 is its first bit, and bits of a byte come from the lowest.
TEST_F(IncrementsTest, AnEqualChecksumIsNotTakenForEqualBytes) {
  const params::ChunkMap chunks(model_.sample.layout, 1024);
  std::vector<float> before(256, 0), after(256, 0);
  constexpr std::uint64_t kPolynomial = (std::uint64_t{0x82F63B78} << 1) | 1;
  after[100] = std::bit_cast<float>(static_cast<std::uint32_t>(kPolynomial));
  after[101] = std::bit_cast<float>(static_cast<std::uint32_t>(kPolynomial >> 32));
  ASSERT_EQ(wire::crc32c(std::as_bytes(std::span(before))),
            wire::crc32c(std::as_bytes(std::span(after))));
  ASSERT_NE(before, after);

  const auto write = [&](Step step, const std::vector<float>& values, std::unique_ptr<Base> base) {
    DataFileParts parts = model_.sample.parts(step, 0);
    parts.ids = {0};
    parts.state_per_parameter = 0;
    DataFileWriter writer(disk_, kRun, parts, std::move(base));
    writer.write(0, values, {});
    return writer.finish();
  };
  Manifest manifest;
  manifest.step = 10;
  manifest.layout.add("w", {256}, {});
  for (const WrittenFile& file : write(10, before, nullptr)) manifest.add(file);
  Part part = write(20, after, std::make_unique<Base>(disk_, kRun, manifest));
  ASSERT_THAT(part, SizeIs(1));
  EXPECT_EQ(part[0].file.name, "step-000000000020/server-0.safetensors");
  EXPECT_EQ(part[0].chunks.at(0).crc, manifest.chunks.at(0).crc);
  part = write(30, before, std::make_unique<Base>(disk_, kRun, manifest));
  ASSERT_THAT(part, SizeIs(1));
  EXPECT_EQ(part[0].file.name, kFile0);
}

// Minus zero is another value than zero, and equal to it.
TEST_F(IncrementsTest, BitsAreComparedAndNotValues) {
  Manifest manifest;
  manifest.step = 10;
  manifest.layout.add("w", {2}, {});
  const std::array<float, 2> zeros = {0.0F, 0.0F}, minus = {-0.0F, 0.0F};
  const auto crc_of = [](std::span<const float> v) { return wire::crc32c(std::as_bytes(v)); };
  const params::ChunkMap chunks(manifest.layout, 0);
  DataFileWriter writer(disk_, kRun,
                        {.layout = manifest.layout,
                         .chunks = chunks,
                         .ids = {0},
                         .job = "j",
                         .step = 10,
                         .host = "h"});
  writer.write(0, zeros, {});
  manifest.add(writer.finish().at(0));
  Base base(disk_, kRun, manifest);
  EXPECT_NE(base.find(0, zeros, {}, crc_of(zeros)), nullptr);
  EXPECT_EQ(base.find(0, minus, {}, crc_of(minus)), nullptr);
  EXPECT_EQ(base.find(0, minus, {}, crc_of(zeros)), nullptr);  // as if checksums were equal
  EXPECT_EQ(base.find(0, std::span(zeros).first(1), std::span(zeros).last(1), crc_of(zeros)),
            nullptr);  // the same bytes, but as another chunk with state
  EXPECT_EQ(base.find(1, zeros, {}, crc_of(zeros)), nullptr);
}

TEST_F(IncrementsTest, WhatCannotBeReadAsItShouldIsWrittenAgain) {
  const Manifest full = model_.save(disk_, 10, {});
  const StoredChunk& damaged = full.chunks.at(0);
  const std::string file = full.files[damaged.file].name;
  flip(file, damaged.at + 5);
  const Manifest next = model_.save(disk_, 20, 10);
  EXPECT_TRUE(is_whole(20));
  EXPECT_FALSE(is_whole(10));
  EXPECT_TRUE(holds(disk_, next, model_.changed()));
  EXPECT_THAT(next.files, SizeIs(3));
  const auto own = std::ranges::find_if(next.files, [](const FileEntry& entry) {
    return entry.name.starts_with("step-000000000020/");
  });
  ASSERT_NE(own, next.files.end());
  EXPECT_EQ(own->bytes, own->header_bytes + kExtent) << "that chunk alone";

  flip(file, 12);  // in the header: nothing of the file is named any more
  EXPECT_TRUE(holds(disk_, model_.save(disk_, 30, 10), model_.changed()));
  EXPECT_TRUE(is_whole(30));
  EXPECT_THAT(files_in(30), SizeIs(2));

  disk_.remove(kRun / file);
  EXPECT_TRUE(holds(disk_, model_.save(disk_, 40, 10), model_.changed()));
  EXPECT_TRUE(is_whole(40));

  flip("step-000000000010/MANIFEST", 60);
  const Manifest last = model_.save(disk_, 50, 10);
  EXPECT_EQ(last.written_bytes(), last.bytes()) << "a base that cannot be read is none";
  EXPECT_EQ(model_.save(disk_, 60, 55).written_bytes(), last.bytes()) << "nor is one that is gone";
}

// Every flip in what a checkpoint uses of an older file is found, and that file is named.
TEST_F(IncrementsTest, DamageInFilesOfOlderCheckpointsIsFoundAndNamed) {
  model_.save(disk_, 10, {});
  model_.change({0}, 20);
  const Manifest next = model_.save(disk_, 20, 10);
  for (const FileEntry& file : next.files) {
    const std::vector<std::byte> before = disk_.bytes(kRun / file.name);
    for (std::size_t at = 0; at < before.size(); ++at) {
      const auto covers = [&](const StoredChunk& chunk) {
        return next.files[chunk.file].name == file.name && chunk.at <= at &&
               at < chunk.at + kExtent;
      };
      const bool used = at < file.header_bytes || std::ranges::any_of(next.chunks, covers);
      flip(file.name, at);
      const std::vector<Damage> damage = damage_of(disk_, kRun, next);
      ASSERT_EQ(damage.size(), used ? 1U : 0U) << file.name << " " << at;
      if (used) {
        ASSERT_EQ(damage[0].file, file.name);
      }
      flip(file.name, at);
    }
  }
}

// Servers know nothing of who wrote what before them.
TEST_F(IncrementsTest, AnyNumberOfServersGoesOn) {
  model_.save(disk_, 10, {});
  Step step = 10;
  for (const std::uint32_t servers : {1U, 3U, 8U, 2U}) {
    model_.servers = servers;
    model_.change({static_cast<std::uint32_t>(step / 10)}, step + 10);
    const Manifest next = model_.save(disk_, step + 10, step);
    step += 10;
    EXPECT_TRUE(is_whole(step)) << servers;
    EXPECT_TRUE(holds(disk_, next, model_.changed())) << servers;
    Store(disk_, kRun).prune(1, step);
    EXPECT_TRUE(is_whole(step)) << servers;
    EXPECT_THAT(Store(disk_, kRun).leftovers(), IsEmpty());
  }
}

// Of another cut nothing is the same, though all values are.
TEST_F(IncrementsTest, ChunksThatAreCutAnotherWayAreWritten) {
  model_.save(disk_, 10, {});
  DataFileParts parts = model_.sample.parts(20, 0);
  const params::ChunkMap halves(model_.sample.layout, 512);
  std::vector<std::uint32_t> all(halves.size());
  for (std::uint32_t i = 0; i < all.size(); ++i) all[i] = i;
  DataFileWriter writer(disk_, kRun,
                        {.layout = parts.layout,
                         .chunks = halves,
                         .ids = all,
                         .state_per_parameter = 1,
                         .job = "odd",
                         .step = 20,
                         .host = "h"},
                        Base::open(disk_, kRun, 10));
  for (const std::uint32_t id : all) {
    writer.write(id, parameters_of(0, halves[id].offset, halves[id].size),
                 state_of(0, 1, halves[id].offset, halves[id].size));
  }
  Manifest next = model_.sample.empty_manifest(20);
  for (const WrittenFile& file : writer.finish()) next.add(file);
  EXPECT_EQ(next.written_bytes(), next.bytes());
  EXPECT_TRUE(holds(disk_, next, model_.changed()));
}

TEST_F(IncrementsTest, AFileStaysAsLongAsACheckpointNamesIt) {
  model_.save(disk_, 10, {});
  model_.change({0}, 20);
  model_.save(disk_, 20, 10);
  model_.change({0}, 30);
  model_.save(disk_, 30, 20);
  Store store(disk_, kRun);
  store.prune(1, 30);
  EXPECT_THAT(store.list(), SizeIs(1));
  EXPECT_TRUE(is_whole(30));
  EXPECT_THAT(files_in(10), ElementsAre("server-0.safetensors", "server-1.safetensors"));
  EXPECT_THAT(files_in(20), IsEmpty());
  EXPECT_THAT(store.leftovers(), IsEmpty());

  model_.change({0, 1, 2, 3, 4, 5, 6, 7}, 40);
  model_.save(disk_, 40, 30);
  store.prune(1, 40);
  EXPECT_TRUE(is_whole(40));
  EXPECT_THAT(disk_.list(kRun), SizeIs(1)) << "nobody needs the others any more";
}

TEST_F(IncrementsTest, ACheckpointThatIsNamedAsABaseStays) {
  for (const Step step : {10U, 20U, 30U}) model_.save(disk_, step, {});
  Store store(disk_, kRun);
  store.prune(1, 30, {10});
  const auto has = [&](Step step) { return store.has(step); };
  EXPECT_TRUE(has(10) && !has(20) && has(30));
  store.prune(1, 30);
  EXPECT_FALSE(has(10));
}

// What is left of a file of which less than half is used is written again.
TEST_F(IncrementsTest, FilesOfWhichLittleIsUsedAreGivenUp) {
  model_.servers = 1;
  model_.save(disk_, 10, {});
  model_.change({0, 1, 2, 3}, 20);
  const Manifest half = model_.save(disk_, 20, 10);
  EXPECT_THAT(half.files, SizeIs(2));
  model_.change({4}, 30);
  const Manifest less = model_.save(disk_, 30, 20);  // 3 of 8 chunks of the first file
  EXPECT_THAT(names_of(less),
              testing::UnorderedElementsAre("step-000000000030/server-0.safetensors",
                                            "step-000000000020/server-0.safetensors"));
  EXPECT_EQ(less.files[0].bytes - less.files[0].header_bytes, 4 * kExtent);
  EXPECT_TRUE(holds(disk_, less, model_.changed()));
}

// The bound of FORMAT.md: whatever changes, files are at most twice what the checkpoints hold.
TEST_F(IncrementsTest, FilesAreNeverMoreThanTwiceWhatTheyAreKeptFor) {
  constexpr std::uint32_t kChunks = 24;
  constexpr std::size_t kKeep = 2;
  std::uint64_t written = 0, held = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    VirtualDisk disk;
    disk.make_folder(kRun);
    Increments model(kChunks);
    Stream random(seed, Purpose::test);
    model.save(disk, 1, {});
    std::map<Step, std::vector<Step>> expected = {{1, model.changed()}};
    for (Step step = 2; step < 60; ++step) {
      if (seed % 4 == 3 && step % 10 == 0) model.servers = 1 + random.next() % 4;
      std::vector<std::uint32_t> some;
      const std::uint32_t odds = 1 + random.next() % 30;  // one in so many changes
      for (std::uint32_t id = 0; id < kChunks; ++id) {
        if (random.next() % odds == 0) some.push_back(id);
      }
      model.change(some, step);
      const Manifest manifest = model.save(disk, step, step - 1);
      expected[step] = model.changed();
      EXPECT_LE(file_bytes(manifest), 2 * manifest.bytes());
      EXPECT_LE(manifest.files.size(), 9 * model.servers);
      written += manifest.written_bytes();
      held += manifest.bytes();

      Store store(disk, kRun);
      store.prune(kKeep, step);
      std::uint64_t kept = 0, on_disk = 0;
      for (const Checkpoint& checkpoint : store.list()) {
        kept += checkpoint.manifest->bytes();
        ASSERT_TRUE(holds(disk, *checkpoint.manifest, expected.at(checkpoint.step)))
            << "seed " << seed << ", step " << step;
      }
      for (const Disk::Entry& folder : disk.list(kRun)) {
        for (const Disk::Entry& file : disk.list(kRun / folder.name)) {
          if (file.name != kManifest) on_disk += disk.bytes(kRun / folder.name / file.name).size();
        }
      }
      EXPECT_LE(on_disk, 2 * kept) << "seed " << seed << ", step " << step;
      EXPECT_THAT(store.leftovers(), IsEmpty());
    }
  }
  EXPECT_LT(written, held / 2) << "and most of it is not written";
}

}  // namespace
}  // namespace sheaf::checkpoint
