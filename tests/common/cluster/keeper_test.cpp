#include "common/cluster/keeper.h"

#include <gmock/gmock.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <latch>

#include "common/base/aligned_buffer.h"
#include "common/base/error.h"
#include "common/cluster/shared_links.h"

namespace sheaf::cluster {
namespace {

using Access = net::SharedMemory::Access;
using testing::HasSubstr;

constexpr Duration kLimit = std::chrono::seconds(10);

net::Credentials credentials(const wire::JobKey& key) {
  wire::Identity identity;
  identity.process = {Role::worker, 0};
  return {key, identity};
}

template <typename Body>
std::string message_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error.message();
  }
  return "no error";
}

class KeeperTest : public testing::Test {
 protected:
  wire::JobKey key_;
  net::Credentials self_ = credentials(key_);
  std::unique_ptr<Keeper> keeper_ = Keeper::start(self_, kLimit);
};

TEST_F(KeeperTest, WhoAsksForTheSameNameGetsTheSameMemory) {
  KeeperClient first(self_, kLimit);
  KeeperClient second(self_, kLimit);
  const auto mine = first.memory("parameters", 4096, Access::write);
  const auto theirs = second.memory("parameters", 4096, Access::read);
  const auto other = second.memory("outgoing", 4096, Access::read);
  mine.floats()[7] = 1.5F;
  EXPECT_EQ(theirs.floats()[7], 1.5F);
  EXPECT_EQ(other.floats()[7], 0.0F);
}

TEST_F(KeeperTest, MemoryOutlivesWhoAskedForIt) {
  {
    KeeperClient first(self_, kLimit);
    first.memory("parameters", 4096, Access::write).floats()[0] = 2;
  }
  KeeperClient second(self_, kLimit);
  EXPECT_EQ(second.memory("parameters", 4096, Access::read).floats()[0], 2.0F);
}

TEST_F(KeeperTest, AnotherSizeIsRefused) {
  KeeperClient client(self_, kLimit);
  client.memory("parameters", 4096, Access::write);
  EXPECT_THAT(message_of([&] { client.memory("parameters", 8192, Access::write); }),
              HasSubstr("expected 8192"));
}

TEST_F(KeeperTest, MemoryThatIsNotThereIsRefusedAndTheNextRequestServed) {
  KeeperClient client(self_, kLimit);
  EXPECT_THAT(message_of([&] { client.memory("huge", std::size_t{1} << 62, Access::write); }),
              HasSubstr("reserving"));
  EXPECT_TRUE(client.memory("small", 4096, Access::write));
}

TEST_F(KeeperTest, HandsOverWhatWasLeft) {
  KeeperClient client(self_, kLimit);
  EXPECT_THAT(message_of([&] { client.get("wake 0 0"); }), HasSubstr("wake 0 0"));
  const net::Descriptor event(::eventfd(0, EFD_NONBLOCK));
  client.put("wake 0 0", event);
  const net::Descriptor same = client.get("wake 0 0");
  const std::uint64_t three = 3;
  ASSERT_EQ(::write(same.get(), &three, sizeof three), 8);
  std::uint64_t found = 0;
  ASSERT_EQ(::read(event.get(), &found, sizeof found), 8);
  EXPECT_EQ(found, 3U);
}

TEST_F(KeeperTest, AHostHasOneKeeperAJob) {
  EXPECT_EQ(Keeper::start(self_, kLimit), nullptr);
  const wire::JobKey other;
  EXPECT_NE(Keeper::start(credentials(other), kLimit), nullptr);
  keeper_.reset();
  EXPECT_NE(Keeper::start(self_, kLimit), nullptr);
}

// Reserving may take seconds; who wants something else does not wait for it.
TEST(KeeperReservationTest, AnswersOthersMeanwhile) {
  std::latch begun(1);
  std::latch held_up(1);
  const net::Credentials self = credentials(wire::JobKey());
  const auto keeper = Keeper::start(self, kLimit, [&](const std::string& name, std::size_t bytes) {
    if (name == "sheaf large") {
      begun.count_down();
      held_up.wait();
    }
    return net::SharedMemory::create(name, bytes);
  });
  KeeperClient other(self, kLimit);
  other.memory("there", 4096, Access::write).floats()[0] = 5;
  auto waiting = std::async(std::launch::async, [&] {
    KeeperClient client(self, kLimit);
    return client.memory("large", 4096, Access::read).floats()[0];
  });
  {
    const struct Release {
      std::latch& latch;
      ~Release() { latch.count_down(); }
    } release{held_up};
    begun.wait();
    EXPECT_EQ(other.memory("there", 4096, Access::read).floats()[0], 5.0F);
    other.put("event", net::Descriptor(::eventfd(0, EFD_NONBLOCK)));
    EXPECT_TRUE(other.get("event"));
    EXPECT_EQ(waiting.wait_for(Duration(0)), std::future_status::timeout);
  }
  EXPECT_EQ(waiting.get(), 0.0F);
}

// Who does not know the key does not know where the keeper is, either.
TEST_F(KeeperTest, AnotherJobFindsNoKeeper) {
  const wire::JobKey other;
  EXPECT_THAT(message_of([&] { KeeperClient client(credentials(other), kLimit); }),
              HasSubstr("cannot be reached"));
}

TEST_F(KeeperTest, AnotherEpochIsRefused) {
  net::Credentials stale = self_;
  stale.self.epoch = 9;
  EXPECT_THROW(KeeperClient(stale, kLimit), Error);
}

// An answer that is late would be taken for the next one's.
TEST_F(KeeperTest, AClientThatWasLeftWithoutAnAnswerAsksNoMore) {
  KeeperClient client(self_, kLimit);
  keeper_.reset();
  EXPECT_NE(message_of([&] { client.get("anything"); }), "no error");
  EXPECT_THAT(message_of([&] { client.get("anything"); }), HasSubstr("failed to answer before"));
}

TEST_F(KeeperTest, AnInterruptedClientAsksNoMore) {
  KeeperClient client(self_, kLimit);
  client.put("event", net::Descriptor(::eventfd(0, EFD_NONBLOCK)));
  client.interrupt();
  EXPECT_NE(message_of([&] { client.get("event"); }), "no error");
}

// A client of another process that is killed leaves the keeper as it was.
TEST_F(KeeperTest, SurvivesAKilledClient) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    KeeperClient client(self_, kLimit);
    client.memory("parameters", 4096, Access::write).floats()[3] = 4;
    [[maybe_unused]] const ssize_t n = ::write(ready[1], "x", 1);
    ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  KeeperClient client(self_, kLimit);
  EXPECT_EQ(client.memory("parameters", 4096, Access::read).floats()[3], 4.0F);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(KeeperTest, ServesUntilNobodyIsLeftOrTheJobIsOver) {
  auto client = std::make_unique<KeeperClient>(self_, kLimit);
  auto served = std::async([&] { keeper_->serve(std::chrono::milliseconds(1)); });
  client->memory("parameters", 4096, Access::write);  // somebody is there
  client.reset();
  served.get();

  keeper_.reset();
  keeper_ = Keeper::start(self_, kLimit);
  KeeperClient other(self_, kLimit);
  served = std::async([&] { keeper_->serve(std::chrono::hours(1)); });
  other.end();
  served.get();
}

TEST(SharedLinksTest, MemoryOfAnotherWorkerOrJobIsRefused) {
  AlignedBuffer<std::byte> memory(SharedLinks::bytes(2, 16));
  const SharedLinks::Title title{
      .epoch = 1, .worker = 3, .incarnation = 2, .lanes = 2, .capacity = 16};
  SharedLinks::make(memory.span(), title);
  EXPECT_EQ(message_of([&] { SharedLinks::open(memory.span(), title); }), "no error");
  for (int field = 0; field < 4; ++field) {
    SharedLinks::Title other = title;
    (field == 0   ? other.epoch
     : field == 1 ? other.worker
     : field == 2 ? other.incarnation
                  : other.lanes) += 1;
    EXPECT_THAT(message_of([&] { SharedLinks::open(memory.span(), other); }),
                HasSubstr("expected that of worker"));
  }
  std::ranges::fill(memory.span(), std::byte{0});
  EXPECT_THROW(SharedLinks::open(memory.span(), title), Error);
}

}  // namespace
}  // namespace sheaf::cluster
