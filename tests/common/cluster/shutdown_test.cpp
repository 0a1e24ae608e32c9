#include "common/cluster/shutdown.h"

#include <gmock/gmock.h>

#include <latch>
#include <stdexcept>
#include <thread>
#include <vector>

namespace sheaf::cluster {
namespace {

std::exception_ptr error(const char* text) {
  return std::make_exception_ptr(std::runtime_error(text));
}

TEST(ShutdownTest, TheFirstEndWins) {
  Shutdown shutdown;
  EXPECT_FALSE(shutdown.ended());
  EXPECT_NO_THROW(shutdown.throw_if_failed());
  shutdown.fail(error("first"));
  shutdown.fail(error("second"));
  shutdown.finish();
  EXPECT_TRUE(shutdown.ended());
  try {
    shutdown.throw_if_failed();
    FAIL() << "did not fail";
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "first");
  }
}

TEST(ShutdownTest, AnEndInPeaceStaysOne) {
  Shutdown shutdown;
  shutdown.finish();
  shutdown.fail(error("too late"));
  EXPECT_TRUE(shutdown.ended());
  EXPECT_NO_THROW(shutdown.throw_if_failed());
}

TEST(ShutdownTest, EverybodyWhoWaitsIsWokenOnce) {
  Shutdown shutdown;
  int woken = 0;
  const Shutdown::Subscription early(shutdown, [&] { ++woken; });
  {
    const Shutdown::Subscription gone(shutdown, [&] { woken += 100; });
  }
  EXPECT_EQ(woken, 0);
  shutdown.finish();
  shutdown.finish();
  EXPECT_EQ(woken, 1);
  const Shutdown::Subscription late(shutdown, [&] { ++woken; });
  EXPECT_EQ(woken, 2);  // at once
}

TEST(ShutdownTest, ThreadsThatSubscribeWhileItEndsMissNothing) {
  for (int round = 0; round < 50; ++round) {
    Shutdown shutdown;
    constexpr int kThreads = 4;
    std::latch begin(kThreads);
    std::vector<int> woken(kThreads);  // one each
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] {
          std::latch end(1);
          begin.arrive_and_wait();
          if (i == 0) shutdown.fail(error("end"));
          const Shutdown::Subscription subscription(shutdown, [&] {
            ++woken[static_cast<std::size_t>(i)];
            end.count_down();
          });
          end.wait();
        });
      }
    }
    EXPECT_THAT(woken, testing::Each(1));
  }
}

}  // namespace
}  // namespace sheaf::cluster
