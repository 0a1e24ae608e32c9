// Which chunks are spared is worked out by hand for a layout of three tensors.
#include "common/compression/by_chunk.h"

#include <gmock/gmock.h>

#include <limits>

#include "common/base/error.h"
#include "tests/common/compression/modes.h"

namespace sheaf::compression {
namespace {

// Two chunks of the large tensor, then one of the two small ones.
struct SmallModel {
  SmallModel() : layout(make()), chunks(layout, 64 * sizeof(float)) {}
  static params::Layout make() {
    params::Layout layout;
    layout.add("weight", {10, 10}, {});
    layout.add("bias", {10}, {});
    layout.add("scale", {20}, {});
    return layout;
  }
  params::Layout layout;
  params::ChunkMap chunks;
};

TEST(ByChunk, ChunksOfSmallTensorsGoAsFloats) {
  const SmallModel model;
  ASSERT_EQ(model.chunks.size(), 3U);
  ASSERT_EQ(model.chunks[2].size, 30U);
  const auto compressor = by_chunk({make_compressor("int4"), {}, 50}, model.layout, model.chunks);
  EXPECT_FALSE(compressor->identity());
  EXPECT_EQ(compressor->max_bytes(30), 120U);
  for (std::uint32_t c = 0; c < 3; ++c) {
    const auto x = normal_vector(model.chunks[c].size, c);
    const EncodingKey key{0, 0, 0, c};
    const auto expected = c == 2 ? x : through(*make_compressor("int4"), x, key);
    EXPECT_EQ(through(*compressor, x, key), expected) << c;
  }
}

TEST(ByChunk, AChunkWithOneLargeTensorIsNotSpared) {
  const SmallModel model;
  const auto compressor =
      by_chunk({make_compressor("fp16"), {}, 15}, model.layout, model.chunks);  // the bias alone
  EXPECT_EQ(compressor->max_bytes(30), 60U) << "no chunk is spared";
}

TEST(ByChunk, WhereNothingIsToBeSparedItIsTheCompressorItself) {
  const SmallModel model;
  auto int8 = make_compressor("int8");
  const Compressor* same = int8.get();
  EXPECT_EQ(by_chunk({std::move(int8)}, model.layout, model.chunks).get(), same);
  EXPECT_TRUE(by_chunk({make_compressor("none"), {}, 50}, model.layout, model.chunks)->identity());
}

TEST(ByChunk, SparedFloatsAreCheckedLikeAllOthers) {
  const SmallModel model;
  const auto compressor = by_chunk({make_compressor("int8"), {}, 50}, model.layout, model.chunks);
  const EncodingKey key{0, 0, 0, 2};
  std::vector<float> x(30, 1);
  auto bytes = encoded(*compressor, x, key);
  std::vector<float> sum(30);
  EXPECT_THROW(compressor->decode_add(std::span(bytes).first(119), key, sum), Error);
  bytes[3] = std::byte{0x7F};
  bytes[2] = std::byte{0x80};
  EXPECT_THROW(compressor->decode_add(bytes, key, sum), Error);
  EXPECT_EQ(sum, std::vector<float>(30));
  x[29] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(encoded(*compressor, x, key), Error);
}

TEST(ByChunk, LayersHaveTheirOwnByTheFirstPatternThatMatches) {
  const SmallModel model;
  Codecs codecs{make_compressor("topk"), {}, 0};
  codecs.layers.push_back({"w*t", make_compressor("int8")});
  codecs.layers.push_back({"*", make_compressor("fp16")});
  const auto compressor = by_chunk(std::move(codecs), model.layout, model.chunks);
  EXPECT_FALSE(compressor->identity());
  for (std::uint32_t c = 0; c < 3; ++c) {
    const auto x = normal_vector(model.chunks[c].size, c);
    const EncodingKey key{0, 0, 0, c};
    EXPECT_EQ(encoded(*compressor, x, key),
              encoded(*make_compressor(c == 2 ? "fp16" : "int8"), x, key));
  }
  EXPECT_EQ(compressor->max_bytes(64), 128U);  // of fp16
}

// The third chunk holds the bias of 10 values and the scale of 20.
TEST(ByChunk, WhatHoldsSeveralTensorsGoesByTheLargest) {
  const SmallModel model;
  const auto choices = [&](std::vector<std::string> patterns, std::size_t exempt_below) {
    return choices_of(patterns, exempt_below, model.layout, model.chunks);
  };
  EXPECT_EQ(choices({"bias"}, 0), (std::vector<Choice>{kUsual, kUsual, kUsual}));
  EXPECT_EQ(choices({"bias", "scale"}, 0), (std::vector<Choice>{kUsual, kUsual, 1}));
  EXPECT_EQ(choices({"scale"}, 25), (std::vector<Choice>{kUsual, kUsual, kFloats}));
  EXPECT_EQ(choices({"*"}, 15), (std::vector<Choice>{0, 0, 0}));
}

TEST(ByChunk, FloatsOfALayerAreThoseOfNone) {
  const SmallModel model;
  Codecs codecs{make_compressor("int8"), {}, 0};
  codecs.layers.push_back({"weight", make_compressor("none")});
  const auto compressor = by_chunk(std::move(codecs), model.layout, model.chunks);
  const auto x = normal_vector(64, 1);
  EXPECT_EQ(through(*compressor, x, {0, 0, 0, 0}), x);
  Codecs floats{make_compressor("none"), {}, 0};
  floats.layers.push_back({"weight", make_compressor("none")});
  EXPECT_TRUE(by_chunk(std::move(floats), model.layout, model.chunks)->identity());
}

TEST(ByChunk, AStarStandsForAnyCharacters) {
  const std::string name = "layers.0.weight";
  for (const char* pattern :
       {"layers.0.weight", "*", "*weight", "layers.*", "l*0*t", "**", "*.*.*"}) {
    EXPECT_TRUE(matches(pattern, name)) << pattern;
  }
  for (const char* pattern :
       {"", "layers.0", "weight", "layers.1.*", "*bias", "*.*.*.*", "l*00*"}) {
    EXPECT_FALSE(matches(pattern, name)) << pattern;
  }
  EXPECT_TRUE(matches("", ""));
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("a*ab", "aab"));
}

}  // namespace
}  // namespace sheaf::compression
