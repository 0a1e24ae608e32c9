#include "common/net/frame_ring.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/error.h"

namespace sheaf::net {
namespace {

class FrameRingTest : public testing::Test {
 protected:
  static constexpr std::size_t kCapacity = 8;
  static RingFrame numbered(std::uint64_t n) {
    RingFrame frame;
    frame.header.type = wire::FrameType::push;
    frame.header.step = n;
    frame.header.value = n * n;
    frame.at = 64 * n;
    return frame;
  }
  AlignedBuffer<std::byte> memory_{FrameRing::bytes(kCapacity)};
  FrameRing in_{memory_.span(), kCapacity};
  FrameRing out_{memory_.span(), kCapacity};
};

TEST_F(FrameRingTest, FramesComeOutAsTheyWentIn) {
  RingFrame frame;
  EXPECT_FALSE(out_.pop(frame));
  for (std::uint64_t round = 0; round < 5; ++round) {  // around the ring several times
    for (std::uint64_t n = 0; n < kCapacity; ++n) EXPECT_TRUE(in_.push(numbered(n + round)));
    EXPECT_FALSE(in_.push(numbered(99)));
    for (std::uint64_t n = 0; n < kCapacity; ++n) {
      ASSERT_TRUE(out_.pop(frame));
      EXPECT_EQ(frame.header, numbered(n + round).header);
      EXPECT_EQ(frame.at, numbered(n + round).at);
    }
    EXPECT_FALSE(out_.pop(frame));
  }
}

TEST_F(FrameRingTest, ASleeperIsToBeWokenOnce) {
  ASSERT_TRUE(in_.push(numbered(0)));
  EXPECT_FALSE(in_.must_wake());
  RingFrame frame;
  ASSERT_TRUE(out_.pop(frame));
  out_.ask_wake();
  EXPECT_FALSE(in_.must_wake());
  ASSERT_TRUE(in_.push(numbered(1)));
  EXPECT_TRUE(in_.must_wake());
  EXPECT_FALSE(in_.must_wake());
  ASSERT_TRUE(out_.pop(frame));
  out_.ask_wake();
  out_.stay_awake();
  ASSERT_TRUE(in_.push(numbered(2)));
  EXPECT_FALSE(in_.must_wake());
}

TEST_F(FrameRingTest, ASleeperIsWokenWhenItHasWhatItNeeds) {
  ASSERT_TRUE(in_.push(numbered(0)));
  RingFrame frame;
  ASSERT_TRUE(out_.pop(frame));
  out_.ask_wake(3);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(in_.push(numbered(1)));
    EXPECT_FALSE(in_.must_wake());
  }
  ASSERT_TRUE(in_.push(numbered(3)));
  EXPECT_TRUE(in_.must_wake());
  out_.ask_wake(kCapacity);
  EXPECT_TRUE(in_.must_wake(true)) << "urgent";
}

TEST_F(FrameRingTest, ADamagedRingIsNoticed) {
  RingFrame frame;
  auto* pushed = reinterpret_cast<std::uint64_t*>(memory_.data());
  *pushed = kCapacity + 1;
  EXPECT_THROW(out_.pop(frame), Error);
}

// Two threads, a small ring, many frames: each arrives once, in order, whole.
TEST_F(FrameRingTest, NothingIsLostBetweenThreads) {
  constexpr std::uint64_t kFrames = 200'000;
  std::jthread writer([&] {
    for (std::uint64_t n = 0; n < kFrames; ++n) {
      while (!in_.push(numbered(n))) std::this_thread::yield();
    }
  });
  RingFrame frame;
  for (std::uint64_t n = 0; n < kFrames; ++n) {
    while (!out_.pop(frame)) std::this_thread::yield();
    ASSERT_EQ(frame.header, numbered(n).header);
    ASSERT_EQ(frame.at, numbered(n).at);
  }
}

}  // namespace
}  // namespace sheaf::net
