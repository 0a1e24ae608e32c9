#include "common/checkpoint/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "tests/common/checkpoint/sample.h"
#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/common/checkpoint/watched_disk.h"

namespace sheaf::checkpoint {
namespace {

struct Saved {
  explicit Saved(const Sample& sample) {
    disk.make_folder(kRun);
    manifest = sample.save(disk, kRun, 9);
  }
  VirtualDisk disk;
  Manifest manifest;
};

// A job with other servers and other chunks finds its own chunks.
TEST(ReaderTest, ReadsAnyRangeWhateverTheChunksAndServersThatWroteIt) {
  for (const std::uint32_t state : {0U, 1U, 2U}) {
    for (const std::uint32_t servers : {1U, 3U}) {
      for (const std::size_t chunk_bytes : {64U, 256U, 4096U}) {
        const Sample sample{.chunk_bytes = chunk_bytes, .servers = servers, .state = state};
        Saved saved(sample);
        Reader reader(saved.disk, kRun, saved.manifest);
        for (const std::size_t size : {1U, 16U, 17U, 64U, 411U}) {
          for (std::size_t begin = 0; begin + size <= sample.layout.size(); begin += size) {
            std::vector<float> parameters(size), states(size * state);
            reader.read(begin, parameters, states);
            ASSERT_EQ(parameters, parameters_of(9, begin, size)) << begin;
            ASSERT_EQ(states, state_of(9, state, begin, size)) << begin;
          }
        }
      }
    }
  }
}

TEST(ReaderTest, ParametersMayBeReadAlone) {
  const Sample sample;
  Saved saved(sample);
  std::vector<float> parameters(sample.layout.size());
  Reader(saved.disk, kRun, saved.manifest).read(0, parameters, {});
  EXPECT_EQ(parameters, parameters_of(9, 0, parameters.size()));
}

TEST(ReaderTest, AscendingRangesReadEachExtentOnce) {
  const Sample sample{.chunk_bytes = 4096};
  Saved saved(sample);
  std::size_t reads = 0;
  WatchedDisk watched(saved.disk, [&](const Operation& operation) {
    if (std::string_view(operation.name) == "read") ++reads;
  });
  Reader reader(watched, kRun, saved.manifest);
  for (std::size_t at = 0; at < sample.layout.size(); ++at) {
    float parameter = 0;
    reader.read(at, std::span(&parameter, 1), {});
  }
  EXPECT_EQ(reads, sample.chunks.size());
}

TEST(ReaderTest, DamageNamesFileTensorAndChecksumsAndIsNeverForgotten) {
  const Sample sample{.chunk_bytes = 64, .servers = 1};
  Saved saved(sample);
  const StoredChunk& chunk = saved.manifest.chunks.at(1);  // a.weight[16:32]
  saved.disk.bytes(kRun / saved.manifest.files[0].name)[chunk.at + 5] ^= std::byte{1};
  Reader reader(saved.disk, kRun, saved.manifest);
  std::vector<float> values(16);
  reader.read(0, values, {});
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      reader.read(16, values, {});
      ADD_FAILURE() << "a damaged extent was read";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::checkpoint);
      EXPECT_THAT(error.message(),
                  testing::MatchesRegex("step 9: step-000000000009/server-0.safetensors: "
                                        "a.weight.16:32.: expected crc32c [0-9a-f]{8}, found "
                                        "[0-9a-f]{8}"));
    }
  }
  reader.read(32, values, {});
  EXPECT_EQ(values, parameters_of(9, 32, 16)) << "the others are as good as ever";
}

TEST(ReaderTest, FilesThatAreMissingOrOfAnotherSizeAreNamed) {
  const Sample sample{.servers = 1};
  Saved saved(sample);
  const auto path = kRun / saved.manifest.files[0].name;
  const auto refusal = [&] {
    try {
      float value = 0;
      Reader(saved.disk, kRun, saved.manifest).read(0, std::span(&value, 1), {});
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::checkpoint);
      return error.message();
    }
    return std::string("accepted");
  };
  const std::string bytes = std::to_string(saved.disk.bytes(path).size());
  saved.disk.bytes(path).pop_back();
  EXPECT_THAT(refusal(), testing::HasSubstr("server-0.safetensors: expected " + bytes + " bytes"));
  saved.disk.remove(path);
  EXPECT_THAT(refusal(), testing::HasSubstr("No such file"));
}

}  // namespace
}  // namespace sheaf::checkpoint
