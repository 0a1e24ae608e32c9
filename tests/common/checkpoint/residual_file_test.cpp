// What workers write of a checkpoint: bytes as FORMAT.md has them (the checksums are from a program
// of twelve lines of Python), read back by partition and range, refused where it does not add up.
#include "common/checkpoint/residual_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <functional>
#include <limits>
#include <stdexcept>

#include "common/base/error.h"
#include "common/checkpoint/reader.h"
#include "common/wire/checksum.h"
#include "tests/common/checkpoint/sample.h"
#include "tests/common/checkpoint/virtual_disk.h"

namespace sheaf::checkpoint {
namespace {

using testing::HasSubstr;

const std::string kResidualManifest = R"({
"format": "sheaf checkpoint",
"version": 2,
"job": "golden",
"step": 7,
"state_per_parameter": 0,
"groups": [
  {"rate_scale": 1.0, "decay_scale": 1.0},
  {"rate_scale": 1.0, "decay_scale": 0.0}
],
"tensors": [
  {"name": "w", "shape": [4, 5], "group": 0},
  {"name": "b", "shape": [1], "group": 1}
],
"files": [
  {"name": "step-000000000007/server-0.safetensors", "bytes": 348, "header_bytes": 264, "header_crc32c": "9144d624", "host": "n0"},
  {"name": "step-000000000007/worker-0.safetensors", "bytes": 680, "header_bytes": 512, "header_crc32c": "66772143", "host": "n1"}
],
"chunks": [
  {"offset": 0, "size": 16, "file": 0, "at": 264, "crc32c": "8470a226"},
  {"offset": 16, "size": 4, "file": 0, "at": 328, "crc32c": "19cff857"},
  {"offset": 20, "size": 1, "file": 0, "at": 344, "crc32c": "e22b0f3b"}
],
"residuals": [
  {"partition": 0, "offset": 0, "size": 16, "file": 1, "at": 512, "crc32c": "692e7813"},
  {"partition": 0, "offset": 16, "size": 4, "file": 1, "at": 576, "crc32c": "1759fad5"},
  {"partition": 0, "offset": 20, "size": 1, "file": 1, "at": 592, "crc32c": "10408c38"},
  {"partition": 1, "offset": 0, "size": 16, "file": 1, "at": 596, "crc32c": "a7f07e77"},
  {"partition": 1, "offset": 16, "size": 4, "file": 1, "at": 660, "crc32c": "45ddfb02"},
  {"partition": 1, "offset": 20, "size": 1, "file": 1, "at": 676, "crc32c": "92b6b740"}
],
"about": {
  "seed": "7"
}
}
crc32c 447ccb90
)";

params::Layout tiny_layout() {
  params::Layout layout;
  layout.add("w", {4, 5}, {});
  layout.add("b", {1}, {1, 0});
  return layout;
}

// Element i is i + 1.
std::vector<float> tiny_parameters(const params::Chunk& chunk) {
  std::vector<float> values;
  for (std::size_t i = chunk.offset; i < chunk.end(); ++i) {
    values.push_back(static_cast<float>(i + 1));
  }
  return values;
}

// Of partition 0 a quarter of that, of the others minus as much, less their number.
std::vector<float> left_out(std::uint32_t partition, std::size_t begin, std::size_t size) {
  std::vector<float> values;
  for (std::size_t i = begin; i < begin + size; ++i) {
    const auto value = static_cast<float>(i + 1) / 4;
    values.push_back(partition == 0 ? value : static_cast<float>(1 - partition) - value);
  }
  return values;
}

class ResidualFileTest : public testing::Test {
 protected:
  ResidualFileTest() { disk_.make_folder(kRun); }

  ResidualFileParts parts(PartitionRange partitions, std::uint32_t worker) const {
    return {.layout = layout_,
            .chunks = chunks_,
            .partitions = partitions,
            .runs = runs_,
            .job = "golden",
            .step = 7,
            .worker = worker,
            .host = "n1"};
  }
  // From the last chunk to the first.
  WrittenFile write(PartitionRange partitions, std::uint32_t worker = 0) {
    ResidualFileWriter writer(disk_, kRun, parts(partitions, worker));
    for (std::uint32_t p = partitions.end(); p-- > partitions.first;) {
      for (auto c = static_cast<std::uint32_t>(chunks_.size()); c-- > 0;) {
        for (std::uint32_t run = 0; run < runs_; ++run) {
          writer.write(p, run, c, left_out(p + 2 * run, chunks_[c].offset, chunks_[c].size));
        }
      }
    }
    return writer.finish();
  }
  void replace(const std::filesystem::path& path, std::span<const std::byte> bytes) {
    disk_.remove(path);
    disk_.create(path)->write_at(0, bytes);
  }
  // Of one server and these workers.
  Manifest save(const std::vector<WrittenFile>& workers) {
    Manifest manifest;
    manifest.job = "golden";
    manifest.step = 7;
    manifest.layout = layout_;
    manifest.about = {{"seed", "7"}};
    DataFileWriter writer(disk_, kRun,
                          {.layout = layout_,
                           .chunks = chunks_,
                           .ids = {0, 1, 2},
                           .job = "golden",
                           .step = 7,
                           .host = "n0"});
    for (std::uint32_t c = 0; c < chunks_.size(); ++c) {
      writer.write(c, tiny_parameters(chunks_[c]), {});
    }
    for (const WrittenFile& file : writer.finish()) manifest.add(file);
    for (const WrittenFile& file : workers) manifest.add(file);
    Store(disk_, kRun).commit(manifest);
    return manifest;
  }
  std::string text(const std::string& name) {
    const auto bytes = disk_.bytes(kRun / "step-000000000007" / name);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  std::uint32_t runs_ = 1;
  params::Layout layout_ = tiny_layout();
  params::ChunkMap chunks_{layout_, 64};  // 16, 4 and 1 elements
  VirtualDisk disk_;
};

TEST_F(ResidualFileTest, IsWrittenAsTheFormatSays) {
  save({write({0, 2})});
  EXPECT_EQ(text("MANIFEST"), kResidualManifest);
  const std::string file = text("worker-0.safetensors");
  EXPECT_EQ(file.substr(8, 500),
            R"({"__metadata__":{"format":"sheaf checkpoint","job":"golden","step":"7"},)"
            R"("residual.0.w[0:16]":{"dtype":"F32","shape":[16],"data_offsets":[0,64]},)"
            R"("residual.0.w[16:20]":{"dtype":"F32","shape":[4],"data_offsets":[64,80]},)"
            R"("residual.0.b":{"dtype":"F32","shape":[1],"data_offsets":[80,84]},)"
            R"("residual.1.w[0:16]":{"dtype":"F32","shape":[16],"data_offsets":[84,148]},)"
            R"("residual.1.w[16:20]":{"dtype":"F32","shape":[4],"data_offsets":[148,164]},)"
            R"("residual.1.b":{"dtype":"F32","shape":[1],"data_offsets":[164,168]}})");
}

TEST_F(ResidualFileTest, IsReadAsTheFormatSays) {
  save({write({0, 2})});
  disk_.remove(kRun / "step-000000000007" / "MANIFEST");
  disk_.create(kRun / "step-000000000007" / "MANIFEST")
      ->write_at(0, std::as_bytes(std::span(kResidualManifest)));
  const auto choice = Store(disk_, kRun).newest_verified();
  ASSERT_TRUE(choice.manifest);
  Reader reader(disk_, kRun, *choice.manifest);
  for (const std::uint32_t partition : {1U, 0U}) {
    std::vector<float> values(21);
    reader.read_residual(partition, 0, 0, values);
    EXPECT_EQ(values, left_out(partition, 0, 21));
  }
}

// A job that goes on may have other workers and other chunks, and reads parameters between.
TEST_F(ResidualFileTest, AnyRangeIsReadWhoeverHasWrittenIt) {
  const Manifest manifest = save({write({2, 1}, 1), write({0, 2}, 0)});
  EXPECT_EQ(manifest_from_text(to_text(manifest)).residuals, manifest.residuals);
  Reader reader(disk_, kRun, manifest);
  for (std::uint32_t partition = 0; partition < 3; ++partition) {
    for (std::size_t begin = 0; begin < 21; ++begin) {
      for (std::size_t end = begin; end <= 21; ++end) {
        std::vector<float> values(end - begin), parameters(end - begin);
        reader.read_residual(partition, 0, begin, values);
        ASSERT_EQ(values, left_out(partition, begin, end - begin));
        reader.read(begin, parameters, {});
        if (end > begin) {
          ASSERT_EQ(parameters[0], static_cast<float>(begin + 1));
        }
      }
    }
  }
}

// Those of momentum, too: run 1 of partition p is what left_out() says of p + 2.
TEST_F(ResidualFileTest, ThereMayBeSeveralRuns) {
  runs_ = 2;
  const Manifest manifest = save({write({1, 1}, 1), write({0, 1}, 0)});
  EXPECT_EQ(manifest.runs(), 2U);
  EXPECT_THAT(text("MANIFEST"), HasSubstr("\"version\": 3,"));
  EXPECT_THAT(text("MANIFEST"), HasSubstr(R"({"partition": 1, "run": 1, "offset": 16, "size": 4)"));
  EXPECT_THAT(text("worker-1.safetensors"), HasSubstr(R"("velocity.1.w[16:20]")"));
  EXPECT_EQ(manifest_from_text(to_text(manifest)).residuals, manifest.residuals);
  EXPECT_TRUE(damage_of(disk_, kRun, manifest).empty());
  Reader reader(disk_, kRun, manifest);
  for (const std::uint32_t partition : {0U, 1U}) {
    for (const std::uint32_t run : {0U, 1U}) {
      std::vector<float> values(9);
      reader.read_residual(partition, run, 12, values);
      EXPECT_EQ(values, left_out(partition + 2 * run, 12, 9));
    }
  }
}

TEST_F(ResidualFileTest, EveryDamageIsFound) {
  const Manifest manifest = save({write({0, 2})});
  const auto path = kRun / "step-000000000007" / "worker-0.safetensors";
  const auto whole = disk_.bytes(path);
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    auto bytes = whole;
    bytes[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    replace(path, bytes);
    const auto damage = damage_of(disk_, kRun, manifest);
    ASSERT_EQ(damage.size(), 1U) << "bit " << bit;
    EXPECT_EQ(damage[0].file, "step-000000000007/worker-0.safetensors");
  }
  auto bytes = whole;
  bytes[596] ^= std::byte{1};
  replace(path, bytes);
  EXPECT_EQ(damage_of(disk_, kRun, manifest).at(0).block, "what partition 1 left out of w[0:16]");
  std::vector<float> values(21);
  Reader reader(disk_, kRun, manifest);
  reader.read_residual(0, 0, 0, values);
  try {
    reader.read_residual(1, 0, 0, values);
    ADD_FAILURE() << "damage was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::checkpoint);
    EXPECT_THAT(error.message(),
                HasSubstr("what partition 1 left out of w[0:16]: expected crc32c"));
  }
}

TEST_F(ResidualFileTest, WhatIsNotFiniteIsNotWritten) {
  ResidualFileWriter writer(disk_, kRun, parts({3, 1}, 2));
  try {
    writer.write(3, 0, 1, std::vector<float>{0, 0, std::numeric_limits<float>::infinity(), 0});
    ADD_FAILURE() << "it was written";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::diverged);
    EXPECT_THAT(error.message(),
                HasSubstr("worker-2.safetensors: what partition 3 left out of w["));
  }
}

TEST_F(ResidualFileTest, AFileThatIsNotFinishedGoes) {
  {
    const ResidualFileWriter writer(disk_, kRun, parts({0, 1}, 0));
  }
  EXPECT_TRUE(disk_.list(kRun / "step-000000000007").empty());
}

// Without its files: only what the lists say of each other counts.
std::string refusal_of_residuals(Manifest manifest,
                                 const std::function<void(std::vector<StoredResidual>&)>& change) {
  change(manifest.residuals);
  try {
    require_sound(manifest);
  } catch (const std::invalid_argument& refused) {
    return refused.what();
  }
  return "accepted";
}

TEST_F(ResidualFileTest, ResidualsCoverTheTensorsOfEachPartition) {
  const Manifest manifest = save({write({0, 2})});
  using List = std::vector<StoredResidual>;
  const auto refusal = [&](const std::function<void(List&)>& change) {
    return refusal_of_residuals(manifest, change);
  };
  EXPECT_EQ(refusal([](List&) {}), "accepted");
  EXPECT_THAT(refusal([](List& l) { l.pop_back(); }),
              HasSubstr("the residuals of partition 1 end at element 20, the tensors have 21"));
  EXPECT_THAT(refusal([](List& l) { l.erase(l.begin() + 1); }),
              HasSubstr("residuals[1]: it begins at element 20, expected 16: a hole"));
  EXPECT_THAT(refusal([](List& l) { l[4].chunk.offset = 15; }),
              HasSubstr("residuals[4]: it begins at element 15, expected 16: an overlap"));
  EXPECT_THAT(refusal([](List& l) { l.erase(l.begin(), l.begin() + 3); }),
              HasSubstr("residuals[0]: it is run 0 of partition 1, expected run 0 of 0"));
  EXPECT_THAT(refusal([](List& l) { l[3].partition = 2; }),
              HasSubstr("residuals[3]: it is run 0 of partition 2, expected run 0 of 1"));
  EXPECT_THAT(refusal([](List& l) { l[2].chunk.file = 2; }),
              HasSubstr("residuals[2]: file 2 is none of 2"));
  EXPECT_THAT(refusal([](List& l) { l[1].chunk.at = 572; }), HasSubstr("overlaps"));
  EXPECT_THAT(refusal([](List& l) { l[1].chunk.file = 0; }), HasSubstr("server-0"));
  EXPECT_THAT(refusal([](List& l) { l.clear(); }), HasSubstr("worker-0"));
}

TEST_F(ResidualFileTest, EveryPartitionHasAllRuns) {
  runs_ = 2;
  const Manifest manifest = save({write({0, 2})});  // 3 chunks, 2 runs, 2 partitions
  using List = std::vector<StoredResidual>;
  const auto refusal = [&](const std::function<void(List&)>& change) {
    return refusal_of_residuals(manifest, change);
  };
  EXPECT_EQ(refusal([](List&) {}), "accepted");
  EXPECT_THAT(refusal([](List& l) { l.erase(l.begin() + 3, l.begin() + 6); }),
              HasSubstr("residuals[3]: it is run 0 of partition 1, expected run 1 of 0"));
  EXPECT_THAT(refusal([](List& l) { l.erase(l.begin() + 9, l.end()); }),
              HasSubstr("residuals[3]: it is run 1 of partition 0, expected run 0 of 1"));
}

TEST_F(ResidualFileTest, TheVersionSaysWhetherThereAreResiduals) {
  std::string text = kResidualManifest;
  const std::size_t list = text.find("\"residuals\"");
  text.erase(list, text.find("\"about\"") - list);
  text.erase(text.find("crc32c ", text.find("about")));
  text += fmt::format("crc32c {:08x}\n", wire::crc32c(std::as_bytes(std::span(text))));
  try {
    manifest_from_text(text);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("\"residuals\" is missing"));
  }
}

}  // namespace
}  // namespace sheaf::checkpoint
