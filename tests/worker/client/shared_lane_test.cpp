// A worker that shares memory with a lane, without the lane: the test writes into its rings.
#include "worker/client/shared_lane.h"

#include <gmock/gmock.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <iterator>
#include <thread>

#include "common/base/error.h"
#include "common/config/section.h"
#include "tests/worker/client/lane_stub.h"

namespace sheaf::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr Duration kKeeperLimit = std::chrono::seconds(10);
constexpr std::uint32_t kPartitions = 128;

net::Credentials as(const wire::JobKey& key, ProcessId process) {
  wire::Identity self;
  self.process = process;
  return {key, self};
}

class SharedLaneTest : public testing::Test {
 protected:
  SharedLaneTest() {
    layout_.add("weight", {32}, {});
    chunks_ = std::make_unique<params::ChunkMap>(layout_, 128);
    shards_ = std::make_unique<params::ShardMap>(*chunks_, 1, 1);
    lane_.put(cluster::wake_name(0, 0), wake_);
    PushPull::Options options;
    options.partitions = kPartitions;
    options.hosted = {0, kPartitions};
    options.keeper = &mine_;
    options.host_id = LaneStub::kHost;
    options.credentials = as(key_, {Role::worker, 0});
    options.servers_return = true;
    options.rejoin_limit = std::chrono::minutes(10);
    options.warn = [](const std::string& text) {
      EXPECT_THAT(text, HasSubstr(" and made again")) << text;
    };
    exchange_ = std::make_unique<PushPull>(std::move(options), *chunks_, *shards_, *pull_, end_);
    std::promise<std::size_t> capacity;
    stub_ = std::make_unique<LaneStub>(
        key_, LaneStub::Until::shares,
        [&](const wire::Header& request) { capacity.set_value(request.step); });
    exchange_->connect({stub_->info()});
    open_links(capacity.get_future().get());
    exchange_->start();
  }
  void open_links(std::size_t capacity) {
    links_ = lane_.memory(cluster::links_name(0, 0), cluster::SharedLinks::bytes(1, capacity),
                          net::SharedMemory::Access::write);
    const auto view =
        cluster::SharedLinks::open(links_.bytes(), {.lanes = 1, .capacity = capacity});
    requests_ = view.requests(0);
    answers_ = view.answers(0);
  }
  std::vector<net::RingFrame> asked() {
    std::vector<net::RingFrame> all;
    for (net::RingFrame frame; requests_.pop(frame);) all.push_back(frame);
    return all;
  }
  void answer(const net::RingFrame& request, wire::FrameType type) {
    net::RingFrame frame{request.header, 0};
    frame.header.type = type;
    frame.header.payload_bytes = 0;
    ASSERT_TRUE(answers_.push(frame));
  }
  // 64 of the partitions of a push, a bit each: 1 = still missing.
  void answer_in_part(const net::RingFrame& push, std::uint64_t at, std::uint64_t bits) {
    net::RingFrame word{push.header, at};
    word.header.type = wire::FrameType::push_ack;
    word.header.status = static_cast<std::uint8_t>(wire::PushStatus::partial);
    word.header.payload_bytes = kPartitions / 8;
    word.header.value = bits;
    ASSERT_TRUE(answers_.push(word));
  }
  // Takes the answers that are there: a wait for nothing does that and returns.
  void take_answers() { exchange_->wait_arrived(0, 0, 0); }
  // Whether the lane, if it sleeps, has been woken since the last time.
  bool woken() {
    std::uint64_t count = 0;
    return ::read(wake_.get(), &count, sizeof count) == sizeof count;
  }

  const wire::JobKey key_;
  std::unique_ptr<cluster::Keeper> keeper_ =
      cluster::Keeper::start(as(key_, {Role::server, 0}), kKeeperLimit);
  cluster::KeeperClient mine_{as(key_, {Role::worker, 0}), kKeeperLimit};
  cluster::KeeperClient lane_{as(key_, {Role::server, 0}), kKeeperLimit};
  net::Descriptor wake_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  params::Layout layout_;
  std::unique_ptr<params::ChunkMap> chunks_;
  std::unique_ptr<params::ShardMap> shards_;
  std::unique_ptr<config::Document> document_ = config::Document::from_text("", "job.toml");
  std::unique_ptr<compression::Compressor> pull_ =
      find_mode(compression::compressors(), "none")->make(document_->root());
  cluster::Shutdown end_;
  std::unique_ptr<PushPull> exchange_;
  std::unique_ptr<LaneStub> stub_;
  net::SharedMemory links_;
  net::FrameRing requests_, answers_;
};

TEST_F(SharedLaneTest, RequestsWithoutAnAnswerAreAsManyAsTheRingHasFrames) {
  for (std::size_t i = 0; i < 2 * requests_.capacity(); ++i) {
    exchange_->end(i, {0, kPartitions}, 1);
  }
  const auto first = asked();
  EXPECT_EQ(first.size(), requests_.capacity());
  for (std::size_t i = 0; i < 3; ++i) answer(first[i], wire::FrameType::end_ack);
  take_answers();
  EXPECT_EQ(asked().size(), 3U);
}

// Words of a partial push may wait in the lane for room in the ring.
TEST_F(SharedLaneTest, WhoTakesWordsOfAPartialPushWakesTheLane) {
  exchange_->push(0, 0, {0, kPartitions}, 1, exchange_->workspace(0));
  exchange_->flush();
  const auto pushes = asked();
  ASSERT_EQ(pushes.size(), 1U);
  requests_.ask_wake();
  answer_in_part(pushes[0], 0, 0b101);
  take_answers();
  EXPECT_TRUE(woken());
  answer_in_part(pushes[0], 8, 0b10);
  std::vector<std::uint32_t> missing;
  exchange_->on_resend([&](Step, std::uint32_t, std::span<const std::uint32_t> partitions) {
    missing.assign(partitions.begin(), partitions.end());
  });
  exchange_->wait_settled();
  EXPECT_THAT(missing, ElementsAre(0, 2, 65));
}

TEST_F(SharedLaneTest, OtherAnswersLeaveTheLaneAsleep) {
  exchange_->end(0, {0, kPartitions}, 1);
  const auto ends = asked();
  ASSERT_EQ(ends.size(), 1U);
  requests_.ask_wake();
  answer(ends[0], wire::FrameType::end_ack);
  exchange_->wait_settled();
  EXPECT_FALSE(woken());
}

// The lost one may have left anything in the rings.
TEST_F(SharedLaneTest, ASuccessorFindsEmptyRingsAndEverythingWithoutAnAnswerAgain) {
  exchange_->push(0, 0, {0, kPartitions}, 7, exchange_->workspace(0));
  exchange_->end(0, {0, kPartitions}, 7);
  const auto before = asked();
  ASSERT_EQ(before.size(), 2U);
  answer(before[1], wire::FrameType::end_ack);
  take_answers();
  exchange_->push(0, 0, {0, 1}, 1, exchange_->workspace(0));  // is not seen by anybody
  exchange_->flush();
  net::RingFrame nonsense;
  nonsense.header.type = wire::FrameType::beat;
  answers_.push(nonsense);
  stub_.reset();
  std::promise<std::size_t> capacity;
  LaneStub successor(key_, LaneStub::Until::shares,
                     [&](const wire::Header& request) { capacity.set_value(request.step); });
  wire::ProcessInfo info = successor.info();
  info.incarnation = 1;
  exchange_->moved(info);
  open_links(capacity.get_future().get());
  std::vector<net::RingFrame> again;
  while (again.size() < 2) {
    std::ranges::copy(asked(), std::back_inserter(again));
    std::this_thread::yield();
  }
  EXPECT_EQ(again[0].header.type, wire::FrameType::push);
  EXPECT_EQ(again[0].header.value, 7U);
  EXPECT_EQ(again[1].header.partitions, (PartitionRange{0, 1}));
  for (const net::RingFrame& push : again) answer(push, wire::FrameType::push_ack);
  exchange_->wait_settled();
}

}  // namespace
}  // namespace sheaf::worker
