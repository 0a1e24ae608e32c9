// Every single bit of a checkpoint of 64 KiB is flipped, every length is cut, runs are zeroed: all
// of it is found, and the older checkpoint is taken. In memory, so that it takes seconds.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "common/base/error.h"
#include "common/checkpoint/names.h"
#include "tests/common/checkpoint/sample.h"
#include "tests/common/checkpoint/virtual_disk.h"

namespace sheaf::checkpoint {
namespace {

params::Layout layout_of_64_kib() {
  params::Layout layout = odd_layout();
  layout.add("large", {71, 66}, {});
  return layout;
}

class DamageTest : public testing::Test {
 protected:
  DamageTest() {
    disk_.make_folder(kRun);
    sample_.save(disk_, kRun, kOld);
    manifest_ = sample_.save(disk_, kRun, kNew);
  }
  std::filesystem::path path_of(const std::string& name) const {
    return kRun / folder_name(kNew) / name;
  }
  // Expects that the newest checkpoint is refused for damage of `file`, and the older one taken.
  void expect_fallback(const std::string& file, const std::string& context) {
    const Store::Choice choice = Store(disk_, kRun).newest_verified();
    ASSERT_TRUE(choice.manifest) << context;
    ASSERT_EQ(choice.manifest->step, kOld) << context;
    ASSERT_EQ(choice.refused.size(), 1U) << context;
    ASSERT_THAT(choice.refused[0].damage.at(0).file, testing::EndsWith(file)) << context;
  }

  const Sample sample_{.layout = layout_of_64_kib(), .chunk_bytes = 1024};
  VirtualDisk disk_;
  Manifest manifest_;
};

// One test for each file, so that they may run side by side.
class FlippedBitTest : public DamageTest, public testing::WithParamInterface<std::size_t> {};

TEST_P(FlippedBitTest, OfTheDataIsFoundInItsFile) {
  const FileEntry& file = manifest_.files.at(GetParam());
  std::vector<std::byte>& bytes = disk_.bytes(kRun / file.name);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      bytes[i] ^= std::byte{1} << bit;
      const std::vector<Damage> damage = damage_of(disk_, kRun, manifest_);
      ASSERT_EQ(damage.size(), 1U) << file.name << ", byte " << i << ", bit " << bit;
      ASSERT_EQ(damage[0].file, file.name) << "byte " << i << ", bit " << bit;
      if (i % 125 == bit) expect_fallback(file.name, fmt::format("byte {}, bit {}", i, bit));
      bytes[i] ^= std::byte{1} << bit;
    }
  }
  EXPECT_TRUE(damage_of(disk_, kRun, manifest_).empty());
  EXPECT_GT(bytes.size(), 30'000U) << "together they are 64 KiB";
  std::cout << fmt::format("{} bits\n", 8 * bytes.size());
}

INSTANTIATE_TEST_SUITE_P(EachServer, FlippedBitTest, testing::Values(0, 1));

TEST_F(DamageTest, EveryFlippedBitOfTheManifestIsFound) {
  std::vector<std::byte>& bytes = disk_.bytes(path_of("MANIFEST"));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      bytes[i] ^= std::byte{1} << bit;
      const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      ASSERT_THROW(manifest_from_text(text), Error) << "byte " << i << ", bit " << bit;
      if (i % 16 == 0) expect_fallback("MANIFEST", fmt::format("byte {}, bit {}", i, bit));
      bytes[i] ^= std::byte{1} << bit;
    }
  }
  std::cout << fmt::format("{} bits\n", 8 * bytes.size());
}

TEST_F(DamageTest, EveryTruncationIsFound) {
  for (const std::string name : {"server-0.safetensors", "server-1.safetensors", "MANIFEST"}) {
    std::vector<std::byte>& bytes = disk_.bytes(path_of(name));
    const std::vector<std::byte> whole = bytes;
    const std::size_t step = name == "MANIFEST" ? 1 : 61;
    for (std::size_t size = 0; size < whole.size(); size += step) {
      bytes.resize(size);
      expect_fallback(name, fmt::format("{} bytes of {}", size, name));
    }
    bytes = whole;
    bytes.push_back(std::byte{0});
    expect_fallback(name, fmt::format("a byte more of {}", name));
    bytes = whole;
  }
  EXPECT_EQ(newest_step(disk_, kRun), kNew);
}

TEST_F(DamageTest, EveryRunOfZerosIsFound) {
  Stream random(11, Purpose::test);
  int found = 0;
  for (int round = 0; round < 5000; ++round) {
    const std::string name = data_file_name(random.next() % 2);
    std::vector<std::byte>& bytes = disk_.bytes(path_of(name));
    const std::size_t begin = random.next() % bytes.size();
    const std::size_t end =
        std::min(bytes.size(), begin + 1 + (random.next() >> (random.next() % 32)) % 8192);
    const std::vector<std::byte> whole = bytes;
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(begin),
              bytes.begin() + static_cast<std::ptrdiff_t>(end), std::byte{0});
    if (bytes == whole) continue;  // those were zeros
    ++found;
    expect_fallback(name, fmt::format("{}: bytes {} to {}", name, begin, end));
    bytes = whole;
  }
  EXPECT_GT(found, 3000);
}

TEST_F(DamageTest, NamesTheBlockAndBothChecksums) {
  const StoredChunk& chunk = manifest_.chunks.at(0);
  const std::string& name = manifest_.files[chunk.file].name;
  disk_.bytes(kRun / name)[chunk.at] ^= std::byte{1};
  disk_.bytes(kRun / name)[3] ^= std::byte{1};
  const std::vector<Damage> damage = damage_of(disk_, kRun, manifest_);
  ASSERT_EQ(damage.size(), 2U);
  EXPECT_EQ(damage[0].block, "header");
  EXPECT_EQ(damage[1].file, name);
  EXPECT_EQ(damage[1].block, "a.weight to b.bias") << "what fits 1024 bytes";
  EXPECT_EQ(damage[1].expected, fmt::format("crc32c {:08x}", chunk.crc));
  EXPECT_NE(damage[1].found, damage[1].expected);
}

}  // namespace
}  // namespace sheaf::checkpoint
