#include "common/checkpoint/manifest.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "tests/common/checkpoint/sample.h"
#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/common/wire/plain_crc.h"

namespace sheaf::checkpoint {
namespace {

using ::testing::HasSubstr;

Manifest sample_manifest() {
  VirtualDisk disk;
  disk.make_folder(kRun);
  return Sample().save(disk, kRun, 120);
}

// A text with its last line.
std::string with_checksum(const std::string& json) {
  return json + fmt::format("crc32c {:08x}\n", wire::plain_crc32c(std::as_bytes(std::span(json))));
}

// The sample's text without its last line.
std::string sample_json() {
  const std::string text = to_text(sample_manifest());
  return text.substr(0, text.size() - 16);
}

std::string refusal_of_text(const std::string& text) {
  try {
    manifest_from_text(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::checkpoint);
    return error.message();
  }
  return "accepted";
}

// Why the sample is refused when `from`, which is in it, is `to`.
std::string refusal(const std::string& from, const std::string& to) {
  std::string json = sample_json();
  const std::size_t at = json.find(from);
  if (at == std::string::npos) return "\"" + from + "\" is not in the sample";
  json.replace(at, from.size(), to);
  return refusal_of_text(with_checksum(json));
}

// A manifest of the smallest kind, with the lines of files and chunks as given; the layout has 8
// elements without state.
std::string refusal_of(const std::string& files, const std::string& chunks) {
  return refusal_of_text(with_checksum(
      R"({"format":"sheaf checkpoint","version":1,"job":"","step":5,"state_per_parameter":0,)"
      R"("groups":[{"rate_scale":1,"decay_scale":1}],"tensors":[{"name":"w","shape":[8],"group":0}],)"
      R"("files":[)" +
      files + R"(],"chunks":[)" + chunks + "],\"about\":{}}\n"));
}
std::string file(const std::string& name, std::uint64_t bytes, std::uint64_t header_bytes = 100) {
  return fmt::format(
      R"({{"name":"{}","bytes":{},"header_bytes":{},"header_crc32c":"00000000","host":""}})", name,
      bytes, header_bytes);
}
std::string chunk(std::uint64_t offset, std::uint64_t size, std::uint64_t at,
                  std::uint64_t in = 0) {
  return fmt::format(R"({{"offset":{},"size":{},"file":{},"at":{},"crc32c":"00000000"}})", offset,
                     size, in, at);
}
const std::string kOwn = "step-000000000005/server-0.safetensors";
const std::string kOlder = "step-000000000004/server-0.safetensors";

// Tensors that are averaged raise the version; whoever has none keeps the older one.
TEST(ManifestTest, WhatIsAveragedIsSaid) {
  Manifest manifest = sample_manifest();
  EXPECT_FALSE(manifest.averages());
  params::Layout layout;
  for (const params::Tensor& tensor : manifest.layout.tensors()) {
    params::Group group = manifest.layout.groups()[tensor.group];
    group.averaged = &tensor == &manifest.layout.tensors().back();
    layout.add(tensor.name, tensor.shape, group);
  }
  manifest.layout = layout;
  const std::string text = to_text(manifest);
  EXPECT_THAT(text, HasSubstr("\"version\": 4"));
  const Manifest back = manifest_from_text(text);
  EXPECT_TRUE(back.averages());
  EXPECT_EQ(back.layout.groups(), layout.groups());
  EXPECT_LT(back.layout.parameters().size(), layout.size());
  EXPECT_EQ(to_text(back), text);
  EXPECT_THAT(refusal("\"version\": 1", "\"version\": 4"), HasSubstr("the version says otherwise"));
  EXPECT_THAT(refusal("\"decay_scale\": 0.0}", "\"decay_scale\": 0.0, \"averaged\": true}"),
              HasSubstr("the version says otherwise"));
  EXPECT_THAT(refusal("\"decay_scale\": 0.0}", "\"decay_scale\": 0.0, \"averaged\": 1}"),
              HasSubstr("\"averaged\" is not true"));
}

TEST(ManifestTest, IsReadBackAsItWasWritten) {
  const Manifest manifest = sample_manifest();
  const std::string text = to_text(manifest);
  const Manifest back = manifest_from_text(text);
  EXPECT_EQ(back.job, "odd");
  EXPECT_EQ(back.step, 120U);
  EXPECT_EQ(back.state_per_parameter, 2U);
  EXPECT_EQ(back.files, manifest.files);
  EXPECT_EQ(back.chunks, manifest.chunks);
  EXPECT_EQ(back.about, manifest.about);
  EXPECT_EQ(back.layout.groups(), manifest.layout.groups());
  ASSERT_EQ(back.layout.tensors().size(), manifest.layout.tensors().size());
  for (std::size_t i = 0; i < back.layout.tensors().size(); ++i) {
    EXPECT_EQ(back.layout.tensors()[i].name, manifest.layout.tensors()[i].name);
    EXPECT_EQ(back.layout.tensors()[i].shape, manifest.layout.tensors()[i].shape);
    EXPECT_EQ(back.layout.tensors()[i].offset, manifest.layout.tensors()[i].offset);
    EXPECT_EQ(back.layout.tensors()[i].group, manifest.layout.tensors()[i].group);
  }
  EXPECT_EQ(to_text(back), text);
}

TEST(ManifestTest, BytesAreThoseOfTheFiles) {
  const Manifest manifest = sample_manifest();
  EXPECT_EQ(manifest.bytes(), manifest.files[0].bytes + manifest.files[1].bytes);
}

TEST(ManifestTest, OneThatDoesNotAddUpIsNotWritten) {
  Manifest manifest = sample_manifest();
  manifest.chunks.pop_back();
  try {
    to_text(manifest);
    ADD_FAILURE() << "a chunk is missing";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::internal);
    EXPECT_THAT(error.message(), HasSubstr("step 120"));
  }
}

TEST(ManifestTest, EveryTruncationIsRefused) {
  const std::string text = to_text(sample_manifest());
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_NE(refusal_of_text(text.substr(0, size)), "accepted") << size << " bytes";
  }
  EXPECT_THAT(refusal_of_text(text + "\n"), HasSubstr("its last line is not"));
}

TEST(ManifestTest, TheLastLineHasOneForm) {
  const std::string json = sample_json();
  const std::string line = with_checksum(json).substr(json.size());
  EXPECT_EQ(refusal_of_text(json + line), "accepted");
  std::string upper = line;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  EXPECT_THAT(refusal_of_text(json + upper), HasSubstr("its last line is not"));
  EXPECT_THAT(refusal_of_text(json + "crc32c " + line.substr(6)),
              HasSubstr("its last line is not"));
  EXPECT_THAT(refusal_of_text(json + "crc32c 00000000\n"),
              HasSubstr("expected crc32c 00000000, found " + line.substr(7, 8)));
  EXPECT_THAT(refusal_of_text(with_checksum(json.substr(0, json.size() - 1))),
              HasSubstr("its last line is not"))
      << "it is a line of its own";
}

TEST(ManifestTest, AnotherVersionIsRefusedByItsNumber) {
  EXPECT_THAT(refusal("\"version\": 1", "\"version\": 6, \"new\": 0"),
              HasSubstr("its format has version 6, this build reads 1 to 5"));
  EXPECT_THAT(refusal("sheaf checkpoint", "leaf"), HasSubstr("its format is \"leaf\""));
}

TEST(ManifestTest, KeysAreThoseOfTheFormat) {
  EXPECT_THAT(refusal("\"job\": \"odd\",", ""), HasSubstr("\"job\" is missing"));
  EXPECT_THAT(refusal("\"job\"", "\"jib\": \"\", \"job\""), HasSubstr("\"jib\" is not known"));
  EXPECT_THAT(refusal("\"job\"", "\"job\": \"\", \"job\""), HasSubstr("it has \"job\" twice"));
  EXPECT_THAT(refusal("\"group\": 0}", "\"groop\": 0}"),
              HasSubstr("tensors[0]: \"group\" is missing"));
  EXPECT_THAT(refusal("\"host\"", "\"x\": 0, \"host\""), HasSubstr("files[0]: \"x\" is not known"));
  EXPECT_THAT(refusal("\"seed\"", "\"optimizer\": \"\", \"seed\""),
              HasSubstr("it has \"optimizer\" twice"));
}

TEST(ManifestTest, ValuesHaveTheirTypeAndRange) {
  EXPECT_THAT(refusal("\"step\": 120", "\"step\": -1"), HasSubstr("\"step\" is no whole number"));
  EXPECT_THAT(refusal("\"step\": 120", "\"step\": 1.5"), HasSubstr("\"step\" is no whole number"));
  EXPECT_THAT(refusal("\"step\": 120", "\"step\": 18446744073709551616"),
              HasSubstr("\"step\" is no whole number"));
  EXPECT_THAT(refusal("\"step\": 120", "\"step\": \"120\""),
              HasSubstr("\"step\" is no whole number"));
  EXPECT_THAT(refusal("\"job\": \"odd\"", "\"job\": 1"), HasSubstr("\"job\" is no text"));
  EXPECT_THAT(refusal("\"job\": \"odd\"", "\"job\": \"\xff\""), HasSubstr("it is no JSON"));
  EXPECT_THAT(refusal("\"state_per_parameter\": 2", "\"state_per_parameter\": 17"),
              HasSubstr("is 17, at most 16"));
  EXPECT_THAT(refusal("\"seed\": \"7\"", "\"seed\": 7"), HasSubstr("about: \"seed\" is no text"));
  EXPECT_THAT(refusal("\"rate_scale\": 1.0", "\"rate_scale\": 0.1"), HasSubstr("is no float: 0.1"));
  EXPECT_THAT(refusal("\"rate_scale\": 1.0", "\"rate_scale\": 1e300"), HasSubstr("is no float"));
  EXPECT_THAT(refusal("\"rate_scale\": 1.0", "\"rate_scale\": null"), HasSubstr("is no number"));
  EXPECT_THAT(refusal("\"header_crc32c\": \"", "\"header_crc32c\": \"0"),
              HasSubstr("files[0]: \"header_crc32c\" is no checksum"));
  EXPECT_THAT(refusal("\"about\": {", "\"about\": [], \"more\": {"),
              HasSubstr("\"about\" is no object"));
  EXPECT_THAT(refusal("\"shape\": [7, 13]", "\"shape\": [7, [[13]]]"), HasSubstr("nested deeper"));
  EXPECT_THAT(refusal_of_text(with_checksum("[]\n")), HasSubstr("the manifest is no object"));
  EXPECT_THAT(refusal_of_text(with_checksum("{\n")), HasSubstr("it is no JSON"));
}

TEST(ManifestTest, LayoutsThatNoModelHasAreRefused) {
  EXPECT_THAT(refusal("\"shape\": [7, 13]", "\"shape\": [7, 0]"),
              HasSubstr("tensors[0]: \"shape\""));
  EXPECT_THAT(refusal("\"shape\": [7, 13]", "\"shape\": [4294967296]"),
              HasSubstr("tensors[0]: \"shape\""));
  EXPECT_THAT(refusal("\"shape\": [7, 13]", "\"shape\": [4294967295, 4294967295, 4294967295]"),
              HasSubstr("tensors[0]: it has too many elements"));
  EXPECT_THAT(refusal("\"name\": \"a.bias\"", "\"name\": \"a.weight\""),
              HasSubstr("two tensors are called a.weight"));
  EXPECT_THAT(refusal("\"group\": 1", "\"group\": 9"), HasSubstr("tensors[1]: group 9 is none of"));
  EXPECT_THAT(refusal("\"group\": 1", "\"group\": 2"), HasSubstr("order of their first use"));
  EXPECT_THAT(refusal("\"rate_scale\": 0.0", "\"rate_scale\": 1.0"),
              HasSubstr("order of their first use"))
      << "equal groups";
  EXPECT_THAT(refusal("\"groups\": [", "\"groups\": [{\"rate_scale\": 7, \"decay_scale\": 7},"),
              HasSubstr("a group is not used"));
}

TEST(ManifestTest, ADescentOfItsOwnIsInVersionFive) {
  Manifest manifest;
  manifest.step = 5;
  manifest.layout.add("w", {7}, {});
  manifest.layout.add("x", {1}, {.own = {.rate = 0.5, .towards = -2}});
  manifest.files = {{kOwn, 132, 100, 0, ""}};
  manifest.chunks = {{0, 8, 0, 100, 0}};
  std::string text = to_text(manifest);
  EXPECT_THAT(text, HasSubstr("\"version\": 5,"));
  EXPECT_THAT(text, HasSubstr(R"("descent_rate": 0.5, "descent_towards": -2.0})"));
  const Manifest again = manifest_from_text(text);
  EXPECT_EQ(again.layout.groups(), manifest.layout.groups());
  EXPECT_EQ(to_text(again), text);

  const auto with = [&](const std::string& from, const std::string& to) {
    std::string json = text.substr(0, text.size() - 16);
    json.replace(json.find(from), from.size(), to);
    return refusal_of_text(with_checksum(json));
  };
  EXPECT_THAT(with("\"version\": 5", "\"version\": 1"), HasSubstr("descent_rate"));
  EXPECT_THAT(with("\"version\": 5", "\"version\": 6"), HasSubstr("reads 1 to 5"));
  Manifest plain = manifest;
  plain.layout = {};
  plain.layout.add("w", {8}, {});
  std::string json = to_text(plain);
  json.resize(json.size() - 16);
  const std::string scales = R"("decay_scale": 1.0)", version = "\"version\": 1";
  json.replace(json.find(scales), scales.size(),
               scales + R"(, "descent_rate": 0.0, "descent_towards": 0.0)");
  json.replace(json.find(version), version.size(), "\"version\": 5");
  EXPECT_THAT(refusal_of_text(with_checksum(json)), HasSubstr("no group descends"));
}

TEST(ManifestTest, ChunksCoverTheTensors) {
  EXPECT_EQ(refusal_of(file(kOwn, 132), chunk(0, 3, 100) + "," + chunk(3, 5, 112)), "accepted");
  const auto chunks = [](const std::string& list) { return refusal_of(file(kOwn, 132), list); };
  EXPECT_THAT(chunks(chunk(1, 7, 100)),
              HasSubstr("chunks[0]: it begins at element 1, expected 0: a hole"));
  EXPECT_THAT(chunks(chunk(0, 4, 100) + "," + chunk(3, 5, 116)),
              HasSubstr("chunks[1]: it begins at element 3, expected 4: an overlap"));
  EXPECT_THAT(chunks(chunk(0, 7, 100)),
              HasSubstr("the chunks end at element 7, the tensors have 8"));
  EXPECT_THAT(chunks(chunk(0, 9, 100)), HasSubstr("chunks[0]: it ends beyond the 8 elements"));
  EXPECT_THAT(chunks(chunk(0, 18446744073709551615U, 100)), HasSubstr("it ends beyond"));
  EXPECT_THAT(chunks(chunk(0, 0, 100) + "," + chunk(0, 8, 100)),
              HasSubstr("chunks[0]: it is empty"));
  EXPECT_THAT(chunks(chunk(0, 8, 100, 1)), HasSubstr("chunks[0]: file 1 is none of 1"));
  EXPECT_THAT(chunks(""), HasSubstr("the chunks end at element 0"));
}

TEST(ManifestTest, ExtentsFillTheirFile) {
  const std::string two = chunk(0, 3, 100) + ",";
  EXPECT_THAT(refusal_of(file(kOwn, 132), two + chunk(3, 5, 108)),
              HasSubstr("the extent at byte 108 overlaps what ends at 112"));
  EXPECT_THAT(refusal_of(file(kOwn, 136), two + chunk(3, 5, 116)),
              HasSubstr("a hole between bytes 112 and 116"));
  EXPECT_THAT(refusal_of(file(kOwn, 136), two + chunk(3, 5, 112)),
              HasSubstr("the extents end at byte 132, the file has 136"));
  EXPECT_THAT(refusal_of(file(kOwn, 131), two + chunk(3, 5, 112)),
              HasSubstr("ends beyond its 131 bytes"));
  EXPECT_THAT(refusal_of(file(kOwn, 132), chunk(0, 8, 99)), HasSubstr("overlaps what ends at 100"));
  EXPECT_THAT(refusal_of(file(kOwn, 132), chunk(0, 8, 18446744073709551615U)),
              HasSubstr("a hole between"));
  EXPECT_THAT(refusal_of(file(kOwn, 132, 133), chunk(0, 8, 100)),
              HasSubstr("132 bytes with a header of 133 are not possible"));
  EXPECT_THAT(refusal_of(file(kOwn, 39, 7), chunk(0, 8, 7)), HasSubstr("are not possible"));
  EXPECT_THAT(refusal_of(file(kOwn, 18446744073709551615U), chunk(0, 8, 100)),
              HasSubstr("are not possible"));
  EXPECT_THAT(refusal_of(file(kOwn, 132) + "," + file(kOwn, 132), chunk(0, 8, 100)),
              HasSubstr("is there twice"));
}

TEST(ManifestTest, FilesOfOlderCheckpointsMayHoldMore) {
  EXPECT_EQ(refusal_of(file(kOlder, 500), chunk(0, 3, 200) + "," + chunk(3, 5, 112)), "accepted");
  EXPECT_EQ(refusal_of(file(kOlder, 500) + "," + file(kOwn, 112),
                       chunk(0, 5, 200) + "," + chunk(5, 3, 100, 1)),
            "accepted");
  EXPECT_THAT(refusal_of(file(kOlder, 500), chunk(0, 3, 200) + "," + chunk(3, 5, 204)),
              HasSubstr("overlaps"));
  EXPECT_THAT(refusal_of(file(kOlder, 500), chunk(0, 8, 472)),
              HasSubstr("ends beyond its 500 bytes"));
  EXPECT_THAT(refusal_of(file(kOlder, 500) + "," + file(kOwn, 132), chunk(0, 8, 100, 1)),
              HasSubstr("no chunk is in it"));
  EXPECT_THAT(refusal_of(file("step-000000000006/server-0.safetensors", 132), chunk(0, 8, 100)),
              HasSubstr("is newer than the checkpoint"));
}

TEST(ManifestTest, FilesHaveNamesOfOurs) {
  for (const std::string name :
       {"", "server-0.safetensors", "../server-0.safetensors", "/etc/passwd",
        "step-000000000005/../x", "step-000000000005/", "step-5/server-0.safetensors",
        "step-000000000005/MANIFEST", "step-000000000005/server-0.safetensors.tmp",
        "step-000000000005/x/server-0.safetensors"}) {
    EXPECT_THAT(refusal_of(file(name, 132), chunk(0, 8, 100)),
                HasSubstr("is no name of a data file"))
        << name;
  }
}

}  // namespace
}  // namespace sheaf::checkpoint
