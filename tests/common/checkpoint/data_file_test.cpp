#include "common/checkpoint/data_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/base/error.h"
#include "common/checkpoint/names.h"
#include "common/checkpoint/posix_disk.h"
#include "launcher/run/model_file.h"
#include "tests/common/checkpoint/sample.h"
#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/common/checkpoint/watched_disk.h"
#include "tests/harness/full_disk.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The element of the vector at which a tensor of a data file begins, by its name.
std::size_t first_element(const params::Layout& layout, const std::string& name) {
  for (const params::Tensor& tensor : layout.tensors()) {
    if (name == tensor.name) return tensor.offset;
    if (name.starts_with(tensor.name + "[")) {
      return tensor.offset + std::stoul(name.substr(tensor.name.size() + 1));
    }
  }
  ADD_FAILURE() << name << " is no tensor of the layout";
  return 0;
}

// Another reader of the format finds every value under its name.
TEST(DataFileTest, IsASafetensorsFileWithEveryValueUnderItsName) {
  for (const std::uint32_t state : {0U, 1U, 2U}) {
    for (const std::size_t chunk_bytes : {64U, 256U, 4096U}) {
      const Sample sample{.chunk_bytes = chunk_bytes, .state = state};
      const launcher::TemporaryFolder folder;
      PosixDisk disk;
      std::vector<int> seen(sample.layout.size() * (1 + state), 0);
      for (std::uint32_t server = 0; server < sample.servers; ++server) {
        if (sample.parts(12, server).ids.empty()) continue;  // it writes no file
        const WrittenFile written = sample.write(disk, folder.path(), 12, server);
        const auto model = launcher::read_model(folder / written.file.name);
        for (const StoredTensor& tensor : model.tensors) {
          std::uint32_t run = 0;
          std::string name = tensor.name;
          if (name.starts_with("optimizer.")) {
            run = static_cast<std::uint32_t>(std::stoul(name.substr(10))) + 1;
            name = name.substr(12);
          }
          const std::size_t first = first_element(sample.layout, name);
          for (std::size_t i = 0; i < tensor.size; ++i) {
            ASSERT_EQ(model.parameters[tensor.offset + i], value_of(12, run, first + i));
            ++seen[run * sample.layout.size() + first + i];
          }
        }
        EXPECT_THAT(model.metadata, ElementsAre(std::pair("format", "sheaf checkpoint"),
                                                std::pair("job", "odd"), std::pair("step", "12")));
      }
      EXPECT_THAT(seen, testing::Each(1)) << state << " of state, chunks of " << chunk_bytes;
    }
  }
}

TEST(DataFileTest, AServerWithoutChunksWritesNoFile) {
  Sample sample;
  const launcher::TemporaryFolder folder;
  PosixDisk disk;
  DataFileParts parts = sample.parts(3, 0);
  parts.ids.clear();
  EXPECT_TRUE(DataFileWriter(disk, folder.path(), parts).finish().empty());
  EXPECT_TRUE(std::filesystem::is_empty(folder / folder_name(3)));
}

TEST(DataFileTest, ValuesThatAreNotFiniteAreRefusedByNameAndLeaveNoFile) {
  const Sample sample{.servers = 1};
  VirtualDisk disk;
  disk.make_folder(kRun);
  for (std::uint32_t id = 0; id < sample.chunks.size(); ++id) {
    const params::Chunk& chunk = sample.chunks[id];
    for (std::uint32_t run = 0; run <= sample.state; ++run) {
      for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
        std::vector<float> parameters = parameters_of(1, chunk.offset, chunk.size);
        std::vector<float> state = state_of(1, sample.state, chunk.offset, chunk.size);
        (run == 0 ? parameters.back() : state[run * chunk.size - 1]) = bad;
        DataFileWriter writer(disk, kRun, sample.parts(1, 0));
        try {
          writer.write(id, parameters, state);
          ADD_FAILURE() << "chunk " << id << ", run " << run;
        } catch (const Error& error) {
          EXPECT_EQ(error.fault(), Fault::diverged);
          const params::Tensor* last = nullptr;  // that the chunk holds
          for (const params::Tensor& tensor : sample.layout.tensors()) {
            if (tensor.offset < chunk.end()) last = &tensor;
          }
          const std::string prefix = run == 0 ? "" : "optimizer." + std::to_string(run - 1) + ".";
          EXPECT_THAT(error.message(), HasSubstr(" of " + prefix + last->name));
          EXPECT_THAT(error.message(), HasSubstr("step-000000000001/server-0.safetensors"));
        }
      }
    }
  }
  EXPECT_TRUE(disk.list(kRun / folder_name(1)).empty()) << "a writer that gives up leaves nothing";
}

TEST(DataFileTest, SpaceIsTakenBeforeAnythingIsWritten) {
  VirtualDisk disk;
  disk.make_folder(kRun);
  std::vector<std::string> operations;
  WatchedDisk watched(disk, [&](const Operation& o) { operations.emplace_back(o.name); });
  const Sample sample;
  DataFileParts parts = sample.parts(1, 0);
  parts.ids = {0};
  DataFileWriter writer(watched, kRun, parts);
  const auto reserved = disk.bytes(kRun / folder_name(1) / "server-0.safetensors.tmp").size();
  EXPECT_EQ(reserved, writer.reserved_bytes());
  writer.write(0, parameters_of(1, 0, sample.chunks[0].size),
               state_of(1, 2, 0, sample.chunks[0].size));
  EXPECT_EQ(writer.finish().at(0).file.bytes, reserved);
  EXPECT_THAT(operations,
              ElementsAre("make_folder", "remove", "create", "reserve", "write", "write", "write",
                          "sync", "rename", "sync_folder", "sync_folder"));
}

TEST(DataFileTest, AFullVolumeNamesFileNeedAndFreeBytesAtOnce) {
  const launcher::TemporaryFolder folder;
  const launcher::TinyVolume volume(folder.path(), 64 << 10);
  if (!volume.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
  params::Layout layout;
  layout.add("weight", {32 << 10}, {});
  const Sample sample{.layout = layout, .chunk_bytes = 4096, .servers = 1};
  PosixDisk disk;
  try {
    DataFileWriter writer(disk, folder.path(), sample.parts(1, 0));
    ADD_FAILURE() << "384 KiB were reserved on a volume of 64 KiB";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_THAT(error.message(), HasSubstr("step-000000000001/server-0.safetensors.tmp"));
    EXPECT_THAT(error.message(), HasSubstr("No space left on device"));
    EXPECT_THAT(error.message(),
                testing::ContainsRegex("needs 40[0-9]{4} bytes, [0-9]+ bytes are free"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder / folder_name(1)));
}

}  // namespace
}  // namespace sheaf::checkpoint
