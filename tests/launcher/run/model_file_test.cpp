#include "launcher/run/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "common/base/error.h"
#include "tests/harness/full_disk.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

params::Layout small_layout() {
  params::Layout layout;
  layout.add("layers.0.weight", {3, 2}, {});
  layout.add("layers.0.bias", {1}, {});
  return layout;
}

const std::vector<float> kParameters = {1, -2, 0.5F, 3, 4, 5, 6};

// sha256 of the seven little-endian floats, by Python's hashlib.
constexpr const char* kSha256 = "d794d22737d581b0bcac12f911510134fa21b6e838041bdf6ed6dcf26a6e13b3";

// A file of the format, put together by hand.
std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + data;
}

std::string refusal_of_model(const std::string& file) {
  const TemporaryFolder folder;
  std::ofstream(folder / "model.safetensors", std::ios::binary) << file;
  try {
    read_model(folder / "model.safetensors");
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_THAT(error.message(), HasSubstr((folder / "model.safetensors").string()));
    return error.message();
  }
  return "accepted";
}

std::string tensor(const std::string& name, const std::string& shape, const std::string& offsets,
                   const std::string& dtype = "F32") {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

TEST(ModelFile, BytesAreThoseOfTheSafetensorsFormat) {
  // Written down from the format's description: length, JSON padded to 8 bytes, then the floats.
  const TemporaryFolder folder;
  const auto sha256 =
      write_model(folder / "model.safetensors", small_layout(), kParameters, {{"job", "demo"}});
  std::string header = R"({"__metadata__":{"format":"sheaf","job":"demo"},)"
                       R"("layers.0.weight":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},)"
                       R"("layers.0.bias":{"dtype":"F32","shape":[1],"data_offsets":[24,28]}})";
  while (header.size() % 8 != 0) header += ' ';
  std::string data(28, '\0');
  std::memcpy(data.data(), kParameters.data(), 28);
  EXPECT_EQ(contents_of(folder / "model.safetensors"), file_of(header, data));
  EXPECT_EQ(sha256, kSha256);
  EXPECT_EQ(model_sha256(kParameters), kSha256);
}

TEST(ModelFile, WrittenModelIsReadBack) {
  const TemporaryFolder folder;
  write_model(folder / "m", small_layout(), kParameters, {{"job", "demo \"x\""}});
  const StoredModel model = read_model(folder / "m");
  EXPECT_EQ(model.parameters, kParameters);
  EXPECT_EQ(model.sha256, kSha256);
  EXPECT_THAT(model.metadata,
              ElementsAre(std::pair("format", "sheaf"), std::pair("job", "demo \"x\"")));
  ASSERT_EQ(model.tensors.size(), 2U);
  EXPECT_EQ(model.tensors[0].name, "layers.0.weight");
  EXPECT_THAT(model.tensors[0].shape, ElementsAre(3, 2));
  EXPECT_EQ(model.tensors[1].offset, 6U);
  EXPECT_EQ(model.tensors[1].size, 1U);
}

TEST(ModelFile, RewritingReplacesTheFileAndLeavesNothingBeside) {
  const TemporaryFolder folder;
  std::ofstream(folder / "m.tmp") << "left by a process that was killed";
  write_model(folder / "m", small_layout(), std::vector<float>(7));
  write_model(folder / "m", small_layout(), kParameters);
  EXPECT_EQ(read_model(folder / "m").parameters, kParameters);
  EXPECT_FALSE(std::filesystem::exists(folder / "m.tmp"));
}

TEST(ModelFile, MetadataAndTensorOrderAreFree) {
  // Other writers sort by name and need no metadata; scalars have an empty shape.
  const std::string header =
      "{" + tensor("b", "[]", "[8,12]") + "," + tensor("a", "[2,1]", "[0,8]") + "}   ";
  const TemporaryFolder folder;
  std::ofstream(folder / "m", std::ios::binary) << file_of(header, std::string(12, '\0'));
  const StoredModel model = read_model(folder / "m");
  EXPECT_EQ(model.tensors.at(0).name, "a");
  EXPECT_EQ(model.tensors.at(1).size, 1U);
  EXPECT_THAT(model.metadata, IsEmpty());
}

TEST(ModelFile, EveryTruncationIsRefused) {
  const TemporaryFolder folder;
  write_model(folder / "m", small_layout(), kParameters);
  const std::string whole = contents_of(folder / "m");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(refusal_of_model(whole.substr(0, size)), "accepted") << size << " bytes";
  }
  EXPECT_THAT(refusal_of_model(whole + "x"),
              HasSubstr("the tensors have 28 bytes, the data section 29"));
}

TEST(ModelFile, HeaderBeyondTheFileOrTheLimitIsRefusedBeforeItIsRead) {
  const std::string huge("\xff\xff\xff\xff\xff\xff\xff\x7f", 8);
  EXPECT_THAT(refusal_of_model(huge + "{}"),
              HasSubstr("its header claims 9223372036854775807 bytes"));
}

TEST(ModelFile, HeadersThatBreakTheFormatAreRefused) {
  const auto refuse = [](const std::string& entries, std::size_t data_bytes) {
    return refusal_of_model(file_of("{" + entries + "}", std::string(data_bytes, '\0')));
  };
  EXPECT_EQ(refuse(tensor("a", "[2]", "[0,8]"), 8), "accepted");
  EXPECT_THAT(refuse(tensor("a", "[2]", "[4,12]"), 12), HasSubstr("a hole before a"));
  EXPECT_THAT(refuse(tensor("a", "[2]", "[0,8]") + "," + tensor("b", "[1]", "[4,8]"), 8),
              HasSubstr("b overlaps"));
  EXPECT_THAT(refuse(tensor("a", "[2]", "[0,4]", "F16"), 4), HasSubstr("dtype is not F32"));
  EXPECT_THAT(refuse(tensor("a", "[3]", "[0,8]"), 8), HasSubstr("do not fit its shape"));
  EXPECT_THAT(refuse(tensor("a", "[2]", "[8,0]"), 8), HasSubstr("do not fit its shape"));
  EXPECT_THAT(refuse(tensor("a", "[2]", "[0,8,9]"), 8), HasSubstr("not two numbers"));
  EXPECT_THAT(refuse(tensor("a", "[-2]", "[0,8]"), 8), HasSubstr("no unsigned integer"));
  EXPECT_THAT(refuse(tensor("a", "2", "[0,8]"), 8), HasSubstr("shape is no list"));
  EXPECT_THAT(refuse(tensor("a", "[4294967296,4294967296]", "[0,0]"), 0), HasSubstr("overflows"));
  EXPECT_THAT(refuse(tensor("a", "[4611686018427387904]", "[0,0]"), 0), HasSubstr("do not fit"));
  EXPECT_THAT(refuse(tensor("a", "[1]", "[0,4]") + "," + tensor("a", "[1]", "[4,8]"), 8),
              HasSubstr("\"a\" twice"));
  EXPECT_THAT(refuse("\"a\":{\"dtype\":\"F32\"}", 0), HasSubstr("a: "));
  EXPECT_THAT(refuse("\"a\":7", 0), HasSubstr("a: "));
  EXPECT_THAT(refuse("\"__metadata__\":{\"x\":1}", 0), HasSubstr("__metadata__: "));
  EXPECT_THAT(refuse("\"a\":[[[[[[]]]]]]", 0), HasSubstr("nested deeper"));
  EXPECT_THAT(refuse("\"a\":", 0), HasSubstr("no JSON"));
  EXPECT_THAT(refusal_of_model(file_of("[]", "")), HasSubstr("does not start with '{'"));
}

TEST(ModelFile, MissingFileAndFolderAreNamed) {
  const TemporaryFolder folder;
  EXPECT_THROW(read_model(folder / "none"), Error);
  EXPECT_THROW(read_model(folder.path()), Error);
}

TEST(ModelFile, LackOfSpaceNamesPathNeedAndFreeBytes) {
  const TemporaryFolder folder;
  write_model(folder / "m", small_layout(), kParameters);
  const std::string before = contents_of(folder / "m");
  const FileSizeLimit limit(64);
  try {
    write_model(folder / "m", small_layout(), std::vector<float>(7));
    ADD_FAILURE() << "a file beyond the limit was written";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_THAT(error.message(), HasSubstr((folder / "m").string()));
    EXPECT_THAT(error.message(), HasSubstr("needs " + std::to_string(before.size()) + " bytes"));
    EXPECT_THAT(error.message(), HasSubstr("are free"));
  }
  EXPECT_EQ(contents_of(folder / "m"), before) << "the old file stays";
  EXPECT_FALSE(std::filesystem::exists(folder / "m.tmp"));
}

TEST(ModelFile, FullVolumeNamesPathNeedAndFreeBytes) {
  const TemporaryFolder folder;
  const TinyVolume volume(folder.path(), 64 << 10);
  if (!volume.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
  params::Layout layout;
  layout.add("weight", {32 << 10}, {});
  try {
    write_model(folder / "m", layout, std::vector<float>(32 << 10));
    ADD_FAILURE() << "128 KiB were written to a volume of 64 KiB";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_THAT(error.message(), HasSubstr("No space left on device"));
    EXPECT_THAT(error.message(), HasSubstr("65536 bytes are free"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace sheaf::launcher
