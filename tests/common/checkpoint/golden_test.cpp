// The bytes of a tiny checkpoint as FORMAT.md has them, written down by hand; the checksums are
// from a program of twelve lines of Python. A release that reads them no more has to raise the
// version.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "common/checkpoint/reader.h"
#include "tests/common/checkpoint/sample.h"
#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/harness/places.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::checkpoint {
namespace {

// Element i is i + 1, its state -(i + 1) / 2.
std::vector<float> parameters(std::size_t begin, std::size_t end) {
  std::vector<float> values;
  for (std::size_t i = begin; i < end; ++i) values.push_back(static_cast<float>(i + 1));
  return values;
}
std::vector<float> state(std::size_t begin, std::size_t end) {
  std::vector<float> values;
  for (std::size_t i = begin; i < end; ++i) values.push_back(static_cast<float>(i + 1) / -2);
  return values;
}

std::string file_of(std::string json, const std::vector<std::vector<float>>& values) {
  while (json.size() % 8 != 0) json += ' ';
  std::string file{static_cast<char>(json.size() % 256), static_cast<char>(json.size() / 256)};
  file.resize(8);
  file += json;
  for (const std::vector<float>& part : values) {
    file.append(reinterpret_cast<const char*>(part.data()), part.size() * sizeof(float));
  }
  return file;
}

const std::string kAbout =
    R"({"__metadata__":{"format":"sheaf checkpoint","job":"golden","step":"7"},)";

std::string server_0() {
  return file_of(
      kAbout + R"("w[0:16]":{"dtype":"F32","shape":[16],"data_offsets":[0,64]},)"
               R"("optimizer.0.w[0:16]":{"dtype":"F32","shape":[16],"data_offsets":[64,128]},)"
               R"("b":{"dtype":"F32","shape":[1],"data_offsets":[128,132]},)"
               R"("optimizer.0.b":{"dtype":"F32","shape":[1],"data_offsets":[132,136]}})",
      {parameters(0, 16), state(0, 16), parameters(20, 21), state(20, 21)});
}

std::string server_1() {
  return file_of(
      kAbout + R"("w[16:20]":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},)"
               R"("optimizer.0.w[16:20]":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}})",
      {parameters(16, 20), state(16, 20)});
}

const std::string kManifestText = R"({
"format": "sheaf checkpoint",
"version": 1,
"job": "golden",
"step": 7,
"state_per_parameter": 1,
"groups": [
  {"rate_scale": 1.0, "decay_scale": 1.0},
  {"rate_scale": 1.0, "decay_scale": 0.0}
],
"tensors": [
  {"name": "w", "shape": [4, 5], "group": 0},
  {"name": "b", "shape": [1], "group": 1}
],
"files": [
  {"name": "step-000000000007/server-0.safetensors", "bytes": 480, "header_bytes": 344, "header_crc32c": "56407ca3", "host": "n0"},
  {"name": "step-000000000007/server-1.safetensors", "bytes": 248, "header_bytes": 216, "header_crc32c": "45b31774", "host": "n1"}
],
"chunks": [
  {"offset": 0, "size": 16, "file": 0, "at": 344, "crc32c": "11e008be"},
  {"offset": 16, "size": 4, "file": 1, "at": 216, "crc32c": "900c1cb0"},
  {"offset": 20, "size": 1, "file": 0, "at": 472, "crc32c": "a9eb8bb1"}
],
"about": {
  "seed": "7"
}
}
crc32c 0b120b52
)";

params::Layout layout() {
  params::Layout layout;
  layout.add("w", {4, 5}, {});
  layout.add("b", {1}, {1, 0});
  return layout;
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(GoldenTest, WhatIsWrittenIsWhatTheFormatSays) {
  VirtualDisk disk;
  disk.make_folder(kRun);
  const Sample sample{.layout = layout(), .chunk_bytes = 64};
  Store store(disk, kRun);
  store.begin(7);
  Manifest manifest;
  manifest.job = "golden";
  manifest.step = 7;
  manifest.layout = sample.layout;
  manifest.state_per_parameter = 1;
  manifest.about = {{"seed", "7"}};
  const std::vector<std::vector<std::uint32_t>> ids = {{0, 2}, {1}};
  for (std::uint32_t server = 0; server < 2; ++server) {
    DataFileParts parts = sample.parts(7, server);
    parts.ids = ids[server];
    parts.state_per_parameter = 1;
    parts.job = "golden";
    parts.host = "n" + std::to_string(server);
    DataFileWriter writer(disk, kRun, parts);
    for (const std::uint32_t id : parts.ids) {
      const params::Chunk& chunk = sample.chunks[id];
      writer.write(id, parameters(chunk.offset, chunk.end()), state(chunk.offset, chunk.end()));
    }
    for (const WrittenFile& file : writer.finish()) manifest.add(file);
  }
  store.commit(manifest);
  const auto folder = kRun / "step-000000000007";
  EXPECT_EQ(text_of(disk.bytes(folder / "server-0.safetensors")), server_0());
  EXPECT_EQ(text_of(disk.bytes(folder / "server-1.safetensors")), server_1());
  EXPECT_EQ(text_of(disk.bytes(folder / "MANIFEST")), kManifestText);
  EXPECT_EQ(disk.list(folder).size(), 3U);
}

TEST(GoldenTest, TheExampleOfTheDocumentIsThisOne) {
  const std::string document =
      launcher::contents_of(source_folder() + "/common/checkpoint/FORMAT.md");
  EXPECT_THAT(document, testing::HasSubstr(kManifestText));
}

TEST(GoldenTest, WhatTheFormatSaysIsRead) {
  VirtualDisk disk;
  const auto folder = kRun / "step-000000000007";
  disk.make_folder(kRun);
  disk.make_folder(folder);
  for (const auto& [name, text] :
       {std::pair("server-0.safetensors", server_0()),
        std::pair("server-1.safetensors", server_1()), std::pair("MANIFEST", kManifestText)}) {
    disk.create(folder / name)->write_at(0, std::as_bytes(std::span(text)));
  }
  const auto choice = Store(disk, kRun).newest_verified();
  ASSERT_TRUE(choice.manifest);
  EXPECT_EQ(choice.manifest->step, 7U);
  EXPECT_EQ(choice.manifest->layout.groups().at(1), (params::Group{1, 0}));
  EXPECT_EQ(choice.manifest->about.at("seed"), "7");
  std::vector<float> found(21), found_state(21);
  Reader(disk, kRun, *choice.manifest).read(0, found, found_state);
  EXPECT_EQ(found, parameters(0, 21));
  EXPECT_EQ(found_state, state(0, 21));
}

}  // namespace
}  // namespace sheaf::checkpoint
