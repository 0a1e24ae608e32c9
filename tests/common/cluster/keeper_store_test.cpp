// What a keeper keeps, with reservations that the test holds up.
#include "common/cluster/keeper_store.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <latch>
#include <optional>
#include <vector>

#include "common/base/error.h"

namespace sheaf::cluster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ino_t file_of(const net::Descriptor& descriptor) {
  struct stat status{};
  EXPECT_EQ(::fstat(descriptor.get(), &status), 0);
  return status.st_ino;
}

// What somebody asked for, once it is there.
struct Wish {
  std::optional<net::Descriptor> granted;
  std::string refused;
};

net::Task<void> ask(KeeperStore& store, std::string name, std::size_t bytes, Wish& wish) {
  try {
    wish.granted = co_await store.memory(std::move(name), bytes);
  } catch (const Error& error) {
    wish.refused = error.message();
  }
}

class KeeperStoreTest : public testing::Test {
 protected:
  void ask_for(const std::string& name, Wish& wish) {
    net::asio::co_spawn(context_, ask(store_, name, 4096, wish), [](std::exception_ptr) {});
  }
  // Runs what can be run without an answer of the thread that reserves.
  void run_until_all_wait() {
    context_.restart();
    context_.poll();
  }
  void run_until_all_are_served() {
    context_.restart();
    context_.run();
  }
  net::SharedMemory reserve(const std::string& name, std::size_t bytes) {
    reserved_.push_back(name);
    held_up_.wait();
    if (fails_) fail(Fault::internal, "no room for {}", name);
    return net::SharedMemory::create(name, bytes);
  }

  std::latch held_up_{1};
  bool fails_ = false;
  std::vector<std::string> reserved_;  // written by the thread that reserves; read when it is done
  net::asio::io_context context_{1};
  KeeperStore store_{context_, [this](const std::string& name, std::size_t bytes) {
                       return reserve(name, bytes);
                     }};
};

TEST_F(KeeperStoreTest, WhoAskForTheSameNameAtOnceGetTheSameMemoryAndOneReservation) {
  Wish first;
  Wish second;
  ask_for("parameters", first);
  ask_for("parameters", second);
  run_until_all_wait();
  EXPECT_FALSE(first.granted || second.granted);
  held_up_.count_down();
  run_until_all_are_served();
  ASSERT_TRUE(first.granted && second.granted) << first.refused << second.refused;
  EXPECT_EQ(file_of(*first.granted), file_of(*second.granted));
  EXPECT_THAT(reserved_, ElementsAre("sheaf parameters"));
}

TEST_F(KeeperStoreTest, WhileMemoryIsReservedOthersAreServed) {
  Wish wish;
  ask_for("parameters", wish);
  run_until_all_wait();
  const net::SharedMemory other = net::SharedMemory::create("other", 4096);
  store_.put("wake", other.descriptor().duplicate());
  EXPECT_EQ(file_of(store_.get("wake")), file_of(other.descriptor()));
  EXPECT_FALSE(wish.granted);
  held_up_.count_down();
  run_until_all_are_served();
  EXPECT_TRUE(wish.granted);
}

TEST_F(KeeperStoreTest, AFailureIsSaidToAllWhoWaitAndTheNextOneTriesAgain) {
  Wish first;
  Wish second;
  Wish third;
  fails_ = true;
  ask_for("parameters", first);
  ask_for("parameters", second);
  run_until_all_wait();
  held_up_.count_down();
  run_until_all_are_served();
  EXPECT_THAT(first.refused, HasSubstr("no room"));
  EXPECT_THAT(second.refused, HasSubstr("no room"));
  fails_ = false;
  ask_for("parameters", third);
  run_until_all_are_served();
  EXPECT_TRUE(third.granted) << third.refused;
  EXPECT_THAT(reserved_, ElementsAre("sheaf parameters", "sheaf parameters"));
}

// As when the keeper's process ends: a reservation under way is waited for, its memory given back.
TEST_F(KeeperStoreTest, EndsWithAReservationUnderWay) {
  Wish wish;
  ask_for("parameters", wish);
  run_until_all_wait();
  held_up_.count_down();
}

}  // namespace
}  // namespace sheaf::cluster
