// Which chunks are spared is worked out by hand for a layout of three tensors.
#include "common/compression/exempting.h"

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

TEST(Exempting, ChunksOfSmallTensorsGoAsFloats) {
  const SmallModel model;
  ASSERT_EQ(model.chunks.size(), 3U);
  ASSERT_EQ(model.chunks[2].size, 30U);
  const auto compressor = exempting(make_compressor("int4"), model.layout, model.chunks, 50);
  EXPECT_FALSE(compressor->identity());
  EXPECT_EQ(compressor->max_bytes(30), 120U);
  for (std::uint32_t c = 0; c < 3; ++c) {
    const auto x = normal_vector(model.chunks[c].size, c);
    const EncodingKey key{0, 0, 0, c};
    const auto expected = c == 2 ? x : through(*make_compressor("int4"), x, key);
    EXPECT_EQ(through(*compressor, x, key), expected) << c;
  }
}

TEST(Exempting, AChunkWithOneLargeTensorIsNotSpared) {
  const SmallModel model;
  const auto compressor =
      exempting(make_compressor("fp16"), model.layout, model.chunks, 15);  // the bias alone
  EXPECT_EQ(compressor->max_bytes(30), 60U) << "no chunk is spared";
}

TEST(Exempting, WhereNothingIsToBeSparedItIsTheCompressorItself) {
  const SmallModel model;
  auto int8 = make_compressor("int8");
  const Compressor* same = int8.get();
  EXPECT_EQ(exempting(std::move(int8), model.layout, model.chunks, 0).get(), same);
  EXPECT_TRUE(exempting(make_compressor("none"), model.layout, model.chunks, 50)->identity());
}

TEST(Exempting, SparedFloatsAreCheckedLikeAllOthers) {
  const SmallModel model;
  const auto compressor = exempting(make_compressor("int8"), model.layout, model.chunks, 50);
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

}  // namespace
}  // namespace sheaf::compression
