#include "common/net/doorbell.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "common/net/spin.h"

namespace sheaf::net {
namespace {

using Clock = std::chrono::steady_clock;

TEST(DoorbellTest, ARingSinceTheLookEndsTheWaitAtOnce) {
  Doorbell bell;
  const std::uint32_t seen = bell.count();
  bell.ring();
  const auto begin = Clock::now();
  bell.wait(seen, begin + std::chrono::seconds(30));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10));
}

TEST(DoorbellTest, AWaitEndsAtItsTime) {
  Doorbell bell;
  const auto until = Clock::now() + std::chrono::milliseconds(20);
  while (Clock::now() < until) bell.wait(bell.count(), until);  // it may return early
  EXPECT_GE(Clock::now(), until);
}

// A word goes to and fro; a lost wake-up would wait for half a minute.
TEST(DoorbellTest, NoWakeUpIsLost) {
  constexpr int kRounds = 20'000;
  Doorbell bells[2];
  std::atomic<int> rounds[2] = {0, 0};
  const auto begin = Clock::now();
  const auto wait = [&](int side, int round) {
    while (true) {
      const std::uint32_t seen = bells[side].count();
      if (rounds[side].load() >= round) return;
      bells[side].wait(seen, Clock::now() + std::chrono::seconds(30));
    }
  };
  const auto say = [&](int side, int round) {
    rounds[side].store(round);
    bells[side].ring();
  };
  {
    const std::jthread echo([&] {
      for (int i = 1; i <= kRounds; ++i) {
        wait(0, i);
        say(1, i);
      }
    });
    for (int i = 1; i <= kRounds; ++i) {
      say(0, i);
      wait(1, i);
    }
  }
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(25));
}

TEST(SpinTest, LearnsThatLookingIsInVainAndThatItPays) {
  const auto ms = [](int n) { return TimePoint{} + std::chrono::milliseconds(n); };
  Spin spin(std::chrono::milliseconds(64));
  spin.start(ms(0));
  EXPECT_TRUE(spin.look(ms(63)));
  EXPECT_FALSE(spin.look(ms(64)));
  spin.start(ms(0));
  EXPECT_FALSE(spin.look(ms(32)));  // half as long
  for (int i = 0; i < 10; ++i) {
    spin.start(ms(0));
    spin.look(ms(64));
  }
  spin.start(ms(0));
  EXPECT_FALSE(spin.look(ms(0)));  // not at all
  for (int i = 0; i < 10; ++i) spin.found();
  spin.start(ms(0));
  EXPECT_TRUE(spin.look(ms(63)));
}

TEST(SpinTest, TriesAgainOnceInAWhile) {
  const auto ms = [](int n) { return TimePoint{} + std::chrono::milliseconds(n); };
  Spin spin(std::chrono::milliseconds(64));
  int looked = 0;
  for (int i = 0; i < 1000; ++i) {
    spin.start(ms(0));
    looked += spin.look(ms(1)) ? 1 : 0;
    spin.look(ms(64));
  }
  EXPECT_GT(looked, 5);
  EXPECT_LT(looked, 100);
}

TEST(SpinTest, NoneIsNone) {
  Spin spin;
  spin.start(TimePoint{});
  EXPECT_FALSE(spin.look(TimePoint{}));
  spin.found();
  spin.start(TimePoint{});
  EXPECT_FALSE(spin.look(TimePoint{}));
}

}  // namespace
}  // namespace sheaf::net
