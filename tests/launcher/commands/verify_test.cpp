#include "launcher/commands/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/checkpoint/data_file.h"
#include "common/checkpoint/posix_disk.h"
#include "common/checkpoint/store.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::launcher {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

class VerifyTest : public testing::Test {
 protected:
  VerifyTest() { std::filesystem::create_directory(run_ / "checkpoints"); }

  // A checkpoint of one tensor of 4 elements, without state, by one server.
  void save(Step step) {
    params::Layout layout;
    layout.add("w", {2, 2}, {});
    const params::ChunkMap chunks(layout, 0);
    checkpoint::PosixDisk disk;
    checkpoint::Store store(disk, run_ / "checkpoints");
    store.begin(step);
    checkpoint::DataFileWriter writer(
        disk, store.path(),
        {.layout = layout, .chunks = chunks, .ids = {0}, .job = "j", .step = step, .host = "h"});
    writer.write(0, std::array{1.0F, 2.0F, 3.0F, 4.0F}, {});
    checkpoint::Manifest manifest;
    manifest.job = "j";
    manifest.step = step;
    manifest.layout = layout;
    for (const auto& file : writer.finish()) manifest.add(file);
    store.commit(manifest);
  }
  std::filesystem::path file(const std::string& name) const { return run_ / "checkpoints" / name; }
  // Puts 'x' at a byte of a file, counted from its end.
  void damage(const std::string& name, int from_end) {
    std::fstream stream(file(name), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(-from_end, std::ios::end);
    stream << 'x';
    ASSERT_TRUE(stream);
  }
  int verify(bool json = false) {
    out_.str("");
    err_.str("");
    return verify_run({run_.path(), json}, out_, err_);
  }

  TemporaryFolder run_;
  std::ostringstream out_, err_;
};

TEST_F(VerifyTest, WholeCheckpointsAreOk) {
  save(10);
  save(20);
  EXPECT_EQ(verify(), 0);
  const auto bytes = std::filesystem::file_size(file("step-000000000020/server-0.safetensors"));
  EXPECT_EQ(out_.str(), "step 20: ok, 1 file, " + std::to_string(bytes) + " bytes\n" +
                            "step 10: ok, 1 file, " + std::to_string(bytes) + " bytes\n");
  EXPECT_THAT(err_.str(), IsEmpty());
}

TEST_F(VerifyTest, AnyDamageIsFiveAndNamesFileBlockExpectedAndFound) {
  save(10);
  save(20);
  save(30);
  damage("step-000000000010/server-0.safetensors", 1);
  damage("step-000000000020/MANIFEST", 100);
  EXPECT_EQ(verify(), 5) << "although the newest is whole";
  EXPECT_THAT(
      out_.str(),
      MatchesRegex("step 30: ok.*\n"
                   "step 20: damaged: step-000000000020/MANIFEST: expected a valid "
                   "manifest, found an invalid one: expected crc32c [0-9a-f]*, found [0-9a-f]*\n"
                   "step 10: damaged: step-000000000010/server-0.safetensors: w: expected "
                   "crc32c [0-9a-f]*, found [0-9a-f]*\n"));
}

TEST_F(VerifyTest, LeftoversAreNamedAndNoDamage) {
  save(10);
  std::ofstream(file("step-000000000010/server-0.safetensors.tmp")) << "x";
  std::filesystem::create_directory(file("step-000000000020"));
  EXPECT_EQ(verify(), 0);
  EXPECT_THAT(out_.str(), MatchesRegex("step 10: ok.*\n"
                                       "leftover: step-000000000010/server-0.safetensors.tmp: .*\n"
                                       "leftover: step-000000000020/: .*\n"));
}

TEST_F(VerifyTest, NothingToGoOnFromIsFive) {
  EXPECT_EQ(verify(), 5);
  EXPECT_EQ(out_.str(), "no checkpoint in " + file("").parent_path().string() + "\n");
}

TEST_F(VerifyTest, WhatIsNoRunDirectoryIsTwo) {
  for (const std::string name : {"nowhere", "checkpoints"}) {
    EXPECT_EQ(verify_run({run_ / name, false}, out_, err_), 2);
    EXPECT_THAT(err_.str(), HasSubstr((run_ / name).string() + ": found no folder"));
  }
  EXPECT_THAT(out_.str(), IsEmpty());
}

TEST_F(VerifyTest, JsonSaysTheSame) {
  save(10);
  save(20);
  damage("step-000000000020/server-0.safetensors", 1);
  std::filesystem::create_directory(file("step-000000000030"));
  EXPECT_EQ(verify(true), 5);
  const auto json = nlohmann::json::parse(out_.str());
  EXPECT_EQ(json.at("exit"), 5);
  EXPECT_EQ(json.at("leftovers"), (std::vector<std::string>{"step-000000000030/"}));
  ASSERT_EQ(json.at("checkpoints").size(), 2U);
  const auto& newest = json["checkpoints"][0];
  EXPECT_EQ(newest.at("step"), 20);
  EXPECT_EQ(newest.at("ok"), false);
  EXPECT_EQ(newest.at("damage").at(0).at("file"), "step-000000000020/server-0.safetensors");
  EXPECT_EQ(newest.at("damage").at(0).at("block"), "w");
  EXPECT_THAT(newest.at("damage").at(0).at("expected").get<std::string>(), HasSubstr("crc32c "));
  EXPECT_EQ(json["checkpoints"][1].at("ok"), true);
  EXPECT_EQ(json["checkpoints"][1].at("files"), 1);
}

}  // namespace
}  // namespace sheaf::launcher
