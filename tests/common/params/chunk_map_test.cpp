#include "common/params/chunk_map.h"

#include <gmock/gmock.h>

#include <map>
#include <vector>

#include "common/base/random.h"

namespace sheaf::params {
namespace {

using testing::ElementsAre;

Layout layout_of(const std::vector<std::uint32_t>& sizes) {
  Layout layout;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    layout.add("t" + std::to_string(i), {sizes[i]},
               {i % 3 == 0 ? 1.0F : 0.5F, i % 2 == 0 ? 1.0F : 0.0F});
  }
  return layout;
}

// What the header promises, for any layout: no gaps, no chunk above the limit, each in one tensor
// or made of whole ones, the ranges with the group of their tensor.
void expect_promises(const Layout& layout, const ChunkMap& chunks, std::size_t most_elements) {
  std::map<std::size_t, const Tensor*> begins;
  for (const Tensor& tensor : layout.tensors()) begins[tensor.offset] = &tensor;
  const auto holder = [&](std::size_t offset) { return (--begins.upper_bound(offset))->second; };

  std::size_t at = 0;
  std::size_t largest = 0;
  for (std::size_t c = 0; c < chunks.size(); ++c) {
    const Chunk& chunk = chunks[c];
    EXPECT_EQ(chunk.offset, at);
    EXPECT_GT(chunk.size, 0U);
    EXPECT_LE(chunk.size, most_elements);
    at = chunk.end();
    largest = std::max(largest, chunk.size);
    std::size_t inside = 0;
    for (const GroupRange& range : chunk.ranges) {
      EXPECT_EQ(range.offset, inside);
      const Tensor* tensor = holder(chunk.offset + inside);
      EXPECT_EQ(range.group, tensor->group);
      if (chunk.ranges.size() > 1) {
        EXPECT_EQ(chunk.offset + inside, tensor->offset);
        EXPECT_EQ(range.size, tensor->size);
      }
      inside += range.size;
    }
    EXPECT_EQ(inside, chunk.size);
    EXPECT_EQ(chunks.holding(chunk.offset), c);
    EXPECT_EQ(chunks.holding(chunk.end() - 1), c);
    EXPECT_EQ(chunks.first_at(chunk.offset), c);
    EXPECT_EQ(chunks.first_at(chunk.offset + 1), c + 1);
  }
  EXPECT_EQ(at, layout.size());
  EXPECT_EQ(chunks.largest(), largest);
}

TEST(ChunkMapTest, KeepsItsPromisesForManyLayouts) {
  Stream stream(5, Purpose::test);
  for (int i = 0; i < 200; ++i) {
    std::vector<std::uint32_t> sizes(1 + stream.next() % 12);
    for (auto& size : sizes) {
      size = 1 + stream.next() % (stream.next() % 2 == 0 ? 20 : 5000);
    }
    const Layout layout = layout_of(sizes);
    const std::size_t elements = 16 * (1 + stream.next() % 64);
    expect_promises(layout, ChunkMap(layout, elements * sizeof(float)), elements);
  }
}

// Worked out by hand: 100 floats in pieces of at most 48; 10 + 20 together, 40 does not fit beside.
TEST(ChunkMapTest, CutsLargeTensorsAndJoinsSmallOnes) {
  const Layout layout = layout_of({100, 10, 20, 40});
  const ChunkMap chunks(layout, 48 * sizeof(float));
  std::vector<std::size_t> sizes;
  for (const Chunk& chunk : chunks.chunks()) sizes.push_back(chunk.size);
  EXPECT_THAT(sizes, ElementsAre(48, 48, 4, 30, 40));
}

// DESIGN: about a sixteenth of the vector, between 4 KiB and 1 MiB.
TEST(ChunkMapTest, AutomaticSizeIsASixteenthWithinBounds) {
  const auto largest = [](std::uint32_t elements) {
    const Layout layout = layout_of({elements});
    return ChunkMap(layout, 0).largest() * sizeof(float);
  };
  EXPECT_EQ(largest(1U << 12), 4U << 10);
  EXPECT_EQ(largest(1U << 18), 1U << 16);
  EXPECT_EQ(largest(1U << 24), 1U << 20);
}

TEST(LayoutTest, TensorsHaveNoGapsAndEqualGroupsShareAnId) {
  Layout layout;
  EXPECT_EQ(layout.add("weight", {3, 4}, {1, 1}), 0U);
  EXPECT_EQ(layout.add("bias", {3}, {1, 0}), 1U);
  EXPECT_EQ(layout.add("more", {2, 2, 2}, {1, 1}), 2U);
  EXPECT_EQ(layout.size(), 23U);
  EXPECT_EQ(layout.groups().size(), 2U);
  EXPECT_EQ(layout.tensors()[1].offset, 12U);
  EXPECT_EQ(layout.tensors()[2].offset, 15U);
  EXPECT_EQ(layout.tensors()[2].group, layout.tensors()[0].group);
}

}  // namespace
}  // namespace sheaf::params
