// Which chunks are matrices, and where their factors stand.
#include "common/compression/factors.h"

#include <gmock/gmock.h>

#include "common/compression/by_chunk.h"
#include "tests/common/compression/modes.h"

namespace sheaf::compression {
namespace {

constexpr std::size_t kChunkBytes = 1024;  // 256 floats

params::Layout model() {
  params::Layout layout;
  layout.add("wide", {20, 24}, {});  // 480 floats: chunks of 240, ten rows each
  layout.add("bias", {24}, {1, 0});  // and small, in one chunk
  layout.add("small", {2, 3}, {});
  layout.add("vector", {600}, {});           // three chunks
  layout.add("kernels", {30, 2, 3, 3}, {});  // 540 floats: rows of 18 in chunks of 192, 192, 156
  return layout;
}

std::unique_ptr<Compressor> usual(std::uint32_t rank) {
  return make_compressor("powersgd", "rank = " + std::to_string(rank));
}

TEST(Factors, StandBehindTheParametersOfTensorsWithRows) {
  const params::Layout layout = pushed_layout({usual(2)}, model(), kChunkBytes);
  const params::ChunkMap alone(model(), kChunkBytes), chunks(layout, kChunkBytes);
  for (std::size_t c = 0; c < alone.size(); ++c) {  // of parameters none is cut in another way
    EXPECT_EQ(chunks[c].offset, alone[c].offset);
    EXPECT_EQ(chunks[c].size, alone[c].size);
  }
  const auto compressor = by_chunk({usual(2)}, layout, chunks);
  const Factors* const factors = compressor->factors();
  ASSERT_NE(factors, nullptr);
  std::vector<std::uint32_t> ids;
  for (const FactoredChunk& c : factors->chunks) ids.push_back(c.chunk);
  EXPECT_THAT(ids, testing::ElementsAre(0, 1, 6, 7, 8));
  EXPECT_THAT(factors->find(0)->matrices, testing::ElementsAre(Matrix{240, 24, 0, 0}));
  EXPECT_THAT(factors->find(7)->matrices, testing::ElementsAre(Matrix{192, 18, 192 % 18, 0}));
  EXPECT_EQ(factors->find(2), nullptr);
  // Rows: 10, 10, 11, 12, 9; columns 24, 24, 18, 18, 18.
  EXPECT_EQ(factors->left_floats, 2U * 52);
  EXPECT_EQ(factors->right_floats, 2U * 102);
  EXPECT_EQ(factors->find(8)->left, 2U * (10 + 10 + 11 + 12));
  EXPECT_EQ(factors->find(8)->right, 2U * (24 + 24 + 18 + 18));
  EXPECT_EQ(factors->parameters, model().size());
  EXPECT_EQ(factors->end(), layout.size());
  EXPECT_EQ(chunks[chunks.holding(factors->right_begin())].offset, factors->right_begin());
  EXPECT_EQ(layout.parameters().size(), model().size());
}

// Of 3 x 4 values 2 (3 + 4) floats would be more.
TEST(Factors, AreOfEachMatrixInAChunk) {
  params::Layout layout;
  layout.add("bias", {7}, {});
  layout.add("first", {12, 8}, {});
  layout.add("second", {9, 10}, {});
  layout.add("third", {3, 4}, {});
  const params::ChunkMap chunks(layout, kChunkBytes);
  ASSERT_EQ(chunks.size(), 1U);
  const Factors factors = factors_of(1, layout, chunks, {true});
  ASSERT_EQ(factors.chunks.size(), 1U);
  EXPECT_THAT(factors.chunks[0].matrices,
              testing::ElementsAre(Matrix{96, 8, 0, 7}, Matrix{90, 10, 0, 103}));
  EXPECT_EQ(factors.left_floats, 12U + 9);
  EXPECT_EQ(factors.right_floats, 8U + 10);
}

TEST(Factors, AreOfChunksThatAreLeftToThem) {
  Codecs codecs{usual(2), {}, 500};  // "wide" is spared
  codecs.layers.push_back({"kernels", make_compressor("int8")});
  EXPECT_EQ(pushed_layout(codecs, model(), kChunkBytes).size(), model().size());
  // Where factors, pushed twice, are no fewer floats: 2 * 4 * (10 + 24) > 240.
  const params::Layout layout = pushed_layout({usual(4)}, model(), kChunkBytes);
  EXPECT_EQ(layout.size(), model().size());
  const params::ChunkMap chunks(layout, kChunkBytes);
  const auto compressor = by_chunk({usual(4)}, layout, chunks);
  EXPECT_EQ(compressor->factors(), nullptr);
  const auto x = normal_vector(240, 1);
  EXPECT_EQ(through(*compressor, x, {1, 1, 0, 0}), x);  // floats
}

TEST(Factors, GoAsFloatsWhateverPullsAreCompressedBy) {
  const params::Layout layout = pushed_layout({usual(2)}, model(), kChunkBytes);
  const params::ChunkMap chunks(layout, kChunkBytes);
  const auto pull = by_chunk({make_compressor("int4")}, layout, chunks);
  const auto last = static_cast<std::uint32_t>(chunks.size() - 1);
  const auto x = normal_vector(chunks[last].size, 1);
  EXPECT_EQ(through(*pull, x, {1, 1, 0, last}), x);
  EXPECT_EQ(pull->factors(), nullptr);
}

}  // namespace
}  // namespace sheaf::compression
