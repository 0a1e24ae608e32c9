// What outlives a worker that is killed anywhere in a step: before it and after it, and what it has
// pushed. A kill is a copy of the memory, opened by somebody else.
#include "worker/residuals/residual_slots.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "common/base/aligned_buffer.h"
#include "common/base/error.h"

namespace sheaf::worker {
namespace {

using testing::Each;
using testing::ElementsAreArray;

constexpr std::uint32_t kOwner = 3, kHeir = 4;

params::Layout two_tensors() {
  params::Layout layout;
  layout.add("a", {40}, {});
  layout.add("b", {7}, {});
  return layout;
}

class ResidualSlotsTest : public testing::Test {
 protected:
  // As the memory is now.
  struct Copy {
    Copy(std::span<const std::byte> from, const ResidualSlots::Shape& shape)
        : memory(from.size()), slots(memory.span(), shape) {
      std::ranges::copy(from, memory.data());
    }
    AlignedBuffer<std::byte> memory;
    ResidualSlots slots;
  };
  Copy killed() const { return {memory_.span(), shape_}; }

  // Takes a step of a chunk: what is left out after it is all `value`, its push one byte.
  void take(std::uint32_t chunk, Step step, float value) {
    std::ranges::fill(slots_.open(chunk, step), value);
    slots_.commit(chunk, step, std::vector{static_cast<std::byte>(step)});
  }

  params::Layout layout_ = two_tensors();
  params::ChunkMap chunks_{layout_, 64};  // 16, 16, 8 and 7 values
  ResidualSlots::Shape shape_{chunks_, 5, 2};
  AlignedBuffer<std::byte> memory_{ResidualSlots::bytes(shape_)};
  ResidualSlots slots_{memory_.span(), shape_};
};

TEST_F(ResidualSlotsTest, BeginWithNothing) {
  EXPECT_EQ(slots_.owner(), std::nullopt);
  std::ranges::fill(memory_.span().subspan(64), std::byte{0x55});
  slots_.begin(kOwner, 10, nullptr);
  EXPECT_EQ(slots_.owner(), kOwner);
  for (std::uint32_t c = 0; c < chunks_.size(); ++c) {
    EXPECT_THAT(slots_.before(c, 10), Each(0.0F));
    EXPECT_EQ(slots_.before(c, 10).size(), chunks_[c].size);
    EXPECT_EQ(slots_.pushed(c, 9), std::nullopt);
  }
}

TEST_F(ResidualSlotsTest, BeginWithWhatIsRestored) {
  slots_.begin(kOwner, 7, [](std::uint32_t chunk, std::span<float> values) {
    std::ranges::fill(values, static_cast<float>(chunk + 1));
  });
  for (std::uint32_t c = 0; c < chunks_.size(); ++c) {
    EXPECT_THAT(slots_.before(c, 7), Each(static_cast<float>(c + 1)));
  }
}

// With momentum: the runs of a chunk lie one behind the other.
TEST_F(ResidualSlotsTest, AChunkMayHaveSeveralRuns) {
  const ResidualSlots::Shape shape{chunks_, 5, 2, 2};
  AlignedBuffer<std::byte> memory(ResidualSlots::bytes(shape));
  ResidualSlots slots(memory.span(), shape);
  slots.begin(kOwner, 3, nullptr);
  for (std::uint32_t c = 0; c < chunks_.size(); ++c) {
    const std::size_t n = chunks_[c].size;
    const std::span<float> after = slots.open(c, 3);
    ASSERT_EQ(after.size(), 2 * n);
    std::ranges::fill(after.first(n), static_cast<float>(c));
    std::ranges::fill(after.last(n), -static_cast<float>(c + 1));
    slots.commit(c, 3, std::vector{std::byte{7}});
  }
  for (std::uint32_t c = 0; c < chunks_.size(); ++c) {
    const std::size_t n = chunks_[c].size;
    EXPECT_THAT(slots.before(c, 4).first(n), Each(static_cast<float>(c)));
    EXPECT_THAT(slots.before(c, 4).last(n), Each(-static_cast<float>(c + 1)));
  }
  EXPECT_EQ(ResidualSlots(memory.span(), shape).owner(), kOwner);
}

// Servers may have what somebody else has pushed of step 10, in place of what is pushed now.
TEST_F(ResidualSlotsTest, WithoutThoseOfALostWorkerItsStepLeavesNothing) {
  slots_.begin_without(kOwner, 10);
  EXPECT_EQ(slots_.owner(), kOwner);
  take(0, 10, 1);
  EXPECT_THAT(slots_.before(0, 11), Each(0.0F));
  EXPECT_THAT(*slots_.pushed(0, 10), ElementsAreArray({std::byte{10}}));
  // Whoever goes on with them keeps to it, and pushes the same again.
  Copy heir = killed();
  EXPECT_EQ(heir.slots.owner(), kOwner);
  heir.slots.adopt(kHeir);
  EXPECT_EQ(heir.slots.owner(), kHeir);
  EXPECT_THAT(*heir.slots.pushed(0, 10), ElementsAreArray({std::byte{10}}));
  std::ranges::fill(heir.slots.open(1, 10), 1.0F);
  heir.slots.commit(1, 10, {});
  EXPECT_THAT(heir.slots.before(1, 11), Each(0.0F));
  // All steps behind it are the worker's own.
  take(0, 11, 2);
  EXPECT_THAT(slots_.before(0, 12), Each(2.0F));
  take(1, 12, 3);
  EXPECT_THAT(slots_.before(1, 13), Each(3.0F));
}

TEST_F(ResidualSlotsTest, AStepThatIsTakenAgainFindsWhatWasBeforeIt) {
  slots_.begin(kOwner, 0, nullptr);
  for (Step step = 0; step < 5; ++step) take(0, step, static_cast<float>(step + 1));
  // Killed while it writes, and right after it has.
  std::ranges::fill(slots_.open(0, 5).first(3), 99.0F);
  Copy in_between = killed();
  EXPECT_EQ(in_between.slots.owner(), kOwner);
  in_between.slots.adopt(kHeir);
  EXPECT_EQ(in_between.slots.owner(), kHeir);
  EXPECT_THAT(in_between.slots.before(0, 5), Each(5.0F));
  EXPECT_EQ(in_between.slots.pushed(0, 5), std::nullopt);

  std::ranges::fill(slots_.open(0, 5), 6.0F);
  slots_.commit(0, 5, std::vector<std::byte>(5, std::byte{7}));
  Copy after = killed();
  EXPECT_THAT(after.slots.before(0, 5), Each(5.0F));
  EXPECT_THAT(after.slots.before(0, 6), Each(6.0F));
  ASSERT_TRUE(after.slots.pushed(0, 5));
  EXPECT_THAT(*after.slots.pushed(0, 5), ElementsAreArray(std::vector(5, std::byte{7})));
  EXPECT_EQ(after.slots.pushed(0, 4), std::nullopt);
  EXPECT_EQ(after.slots.pushed(0, 6), std::nullopt);
  // Taken again with other values it is as if it had been the first time.
  std::ranges::fill(after.slots.open(0, 5), 60.0F);
  after.slots.commit(0, 5, {});
  EXPECT_THAT(after.slots.before(0, 6), Each(60.0F));
  EXPECT_EQ(after.slots.pushed(0, 5)->size(), 0U);
}

TEST_F(ResidualSlotsTest, ChunksAreAtDifferentSteps) {
  slots_.begin(kOwner, 0, nullptr);
  take(3, 0, 1);
  take(3, 1, 2);
  take(1, 0, 3);
  EXPECT_THAT(slots_.before(3, 2), Each(2.0F));
  EXPECT_THAT(slots_.before(3, 1), Each(1.0F));
  EXPECT_THAT(slots_.before(1, 1), Each(3.0F));
  EXPECT_THAT(slots_.before(1, 0), Each(0.0F));
  EXPECT_THAT(slots_.before(0, 2), Each(0.0F));
  EXPECT_THAT(slots_.before(2, 2), Each(0.0F));
}

TEST_F(ResidualSlotsTest, AStepWithoutAPushChangesNothing) {
  slots_.begin(kOwner, 0, nullptr);
  take(0, 0, 1);
  EXPECT_THAT(slots_.before(0, 4), Each(1.0F));
  take(0, 4, 2);
  EXPECT_THAT(slots_.before(0, 4), Each(1.0F));
  EXPECT_THAT(slots_.before(0, 5), Each(2.0F));
  EXPECT_THAT(slots_.before(0, 9), Each(2.0F));
}

TEST_F(ResidualSlotsTest, WhatIsGoneIsNotMadeUp) {
  slots_.begin(kOwner, 0, nullptr);
  for (Step step = 0; step < 3; ++step) take(0, step, 1);
  try {
    slots_.before(0, 1);
    ADD_FAILURE() << "step 1 was written over";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::network);
    EXPECT_THAT(error.message(), testing::HasSubstr("partition 2 had left out of chunk 0 before"));
  }
}

TEST_F(ResidualSlotsTest, OfAnotherShapeAreNobodys) {
  slots_.begin(kOwner, 0, nullptr);
  EXPECT_EQ(ResidualSlots(memory_.span(), {chunks_, 5, 2}).owner(), kOwner);
  EXPECT_EQ(ResidualSlots(memory_.span(), {chunks_, 5, 1}).owner(), std::nullopt);
  params::Layout other = two_tensors();
  other.add("c", {16}, {});
  const params::ChunkMap more(other, 64);
  AlignedBuffer<std::byte> larger(ResidualSlots::bytes({more, 5, 2}));
  std::ranges::copy(memory_.span(), larger.data());
  EXPECT_EQ(ResidualSlots(larger.span(), {more, 5, 2}).owner(), std::nullopt);
}

}  // namespace
}  // namespace sheaf::worker
