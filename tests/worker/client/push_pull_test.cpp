// What PushPull promises about its end; its work is tested by tests/cluster.
#include "worker/client/push_pull.h"

#include <gmock/gmock.h>

#include <future>
#include <latch>

#include "common/base/error.h"
#include "common/config/section.h"
#include "common/net/listener.h"
#include "tests/worker/client/lane_stub.h"

namespace sheaf::worker {
namespace {

using testing::HasSubstr;

constexpr Duration kNotInThisTest = std::chrono::minutes(10);

class PushPullTest : public testing::Test {
 protected:
  PushPullTest() { layout_.add("weight", {32}, {}); }

  std::unique_ptr<PushPull> make(Duration share_limit = kNotInThisTest,
                                 PushPull::Options options = {}) {
    options.keeper = client_.get();
    options.host_id = LaneStub::kHost;
    options.dead_limit = kNotInThisTest;
    options.share_limit = share_limit;
    options.hosted = {0, 1};
    options.credentials = {key_, wire::Identity{}};
    if (!options.warn) options.warn = [](const std::string&) {};
    return std::make_unique<PushPull>(std::move(options), chunks(), shards(), *pull_, shutdown_);
  }
  const params::ChunkMap& chunks() {
    if (!chunks_) chunks_ = std::make_unique<params::ChunkMap>(layout_, 64);
    return *chunks_;
  }
  const params::ShardMap& shards() {
    if (!shards_) shards_ = std::make_unique<params::ShardMap>(chunks(), 1, 1);
    return *shards_;
  }

  // Of a job whose servers return. `on_first_try` is called when a connection was tried in vain.
  std::unique_ptr<PushPull> make_returning(std::function<void()> on_first_try) {
    PushPull::Options options;
    options.servers_return = true;
    options.rejoin_limit = kNotInThisTest;
    options.warn = [said = std::move(on_first_try)](const std::string&) { said(); };
    return make(kNotInThisTest, std::move(options));
  }
  wire::ProcessInfo nobody_there() {
    wire::ProcessInfo info;
    info.address = "127.0.0.1";
    const net::Listener listener(other_, "127.0.0.1", {});
    info.ports = {listener.endpoint().port};  // free again when this returns
    return info;
  }
  static wire::ProcessInfo in_its_next_life(wire::ProcessInfo info) {
    ++info.incarnation;
    return info;
  }

  // As the failure of another rank ends the job.
  void end_the_job() {
    shutdown_.fail(std::make_exception_ptr(
        Error(Fault::data, "somebody else failed", std::source_location::current())));
  }
  static std::string message_of_connecting(PushPull& exchange, const wire::ProcessInfo& server) {
    try {
      exchange.connect({server});
    } catch (const Error& error) {
      return error.message();
    }
    return "connected";
  }

  const wire::JobKey key_;
  std::unique_ptr<cluster::Keeper> keeper_;  // none unless a test starts it
  std::unique_ptr<cluster::KeeperClient> client_;
  params::Layout layout_;
  std::unique_ptr<params::ChunkMap> chunks_;
  std::unique_ptr<params::ShardMap> shards_;
  std::unique_ptr<config::Document> document_ = config::Document::from_text("", "job.toml");
  std::unique_ptr<compression::Compressor> pull_ =
      find_mode(compression::compressors(), "none")->make(document_->root());
  cluster::Shutdown shutdown_;
  net::asio::io_context other_{1};  // of a server that never answers
};

// As when the connection to a second server fails and the worker gives up.
TEST_F(PushPullTest, EndsWithConnectionsThatNeverBeganToWork) {
  const auto exchange = make();
  auto [ours, theirs] = net::connected_pair(exchange->context(0), other_);
  exchange->adopt({0, 0}, std::move(ours));
}

// A wait in one thread and a failure in another: the wait throws what happened.
TEST_F(PushPullTest, AWaitEndsWithTheJob) {
  const auto exchange = make();
  auto [ours, theirs] = net::connected_pair(exchange->context(0), other_);
  exchange->adopt({0, 0}, std::move(ours));
  exchange->start();
  exchange->pull(0, 0);
  const std::jthread failing([this] { end_the_job(); });
  try {
    exchange->wait_arrived(0, 32, 0);
    FAIL() << "nothing arrived, and the wait returned";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "somebody else failed");
  }
  exchange->stop();
  exchange->stop();  // harmless
}

TEST_F(PushPullTest, AServerThatLeavesIsNamed) {
  const auto exchange = make();
  auto [ours, theirs] = net::connected_pair(exchange->context(0), other_);
  exchange->adopt({0, 0}, std::move(ours));
  exchange->start();
  exchange->pull(0, 0);
  theirs.close();
  try {
    exchange->wait_arrived(0, 32, 0);
    FAIL() << "nothing arrived, and the wait returned";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::network);
    EXPECT_THAT(error.message(), testing::HasSubstr("server 0"));
  }
}

TEST_F(PushPullTest, AServerThatIsNotThereIsNamed) {
  const auto exchange = make();
  try {
    exchange->connect({nobody_there()});
    FAIL() << "connected to nobody";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::network);
    EXPECT_THAT(error.message(), HasSubstr("cannot connect to server 0"));
  }
}

// It is lost before a worker comes; where its successor is the worker hears before, or meanwhile.
TEST_F(PushPullTest, ConnectingWaitsForTheSuccessorOfALostServer) {
  const LaneStub successor(key_, LaneStub::Until::asked_to_share, [](const wire::Header&) {});
  const wire::ProcessInfo moved = in_its_next_life(successor.info());
  PushPull* told = nullptr;
  const auto exchange = make_returning([&] { told->moved(moved); });
  told = exchange.get();
  EXPECT_EQ(message_of_connecting(*exchange, nobody_there()), "connected");
}

TEST_F(PushPullTest, ASuccessorThatIsKnownBeforeIsConnectedToAtOnce) {
  const LaneStub successor(key_, LaneStub::Until::asked_to_share, [](const wire::Header&) {});
  const auto exchange = make_returning([] { ADD_FAILURE() << "tried somebody else"; });
  exchange->moved(in_its_next_life(successor.info()));
  EXPECT_EQ(message_of_connecting(*exchange, nobody_there()), "connected");
}

// A roster that is told while a server is being replaced names it without a place.
TEST_F(PushPullTest, AServerThatHasNoPlaceYetIsWaitedFor) {
  const LaneStub successor(key_, LaneStub::Until::asked_to_share, [](const wire::Header&) {});
  const wire::ProcessInfo moved = in_its_next_life(successor.info());
  PushPull* told = nullptr;
  const auto exchange = make_returning([&] { told->moved(moved); });
  told = exchange.get();
  wire::ProcessInfo awaited = moved;
  awaited.address.clear();
  awaited.ports.clear();
  EXPECT_EQ(message_of_connecting(*exchange, awaited), "connected");
}

// The successor of another one was given the port.
TEST_F(PushPullTest, AnotherServerAtTheAddressOfALostOneIsNotTakenForIt) {
  const LaneStub successor(key_, LaneStub::Until::asked_to_share, [](const wire::Header&) {});
  const wire::ProcessInfo moved = in_its_next_life(successor.info());
  const LaneStub other(key_, LaneStub::Until::asked_to_share, [](const wire::Header&) {}, 1);
  wire::ProcessInfo lost = other.info();
  lost.process.id = 0;
  PushPull* told = nullptr;
  const auto exchange = make_returning([&] { told->moved(moved); });
  told = exchange.get();
  EXPECT_EQ(message_of_connecting(*exchange, lost), "connected");
}

// The job ends while a server is waited for that does nothing more; the deadlines are minutes away.
TEST_F(PushPullTest, ConnectingEndsWithTheJob) {
  const auto exchange = make();
  const LaneStub server(key_, LaneStub::Until::greeted_by_worker,
                        [this](const wire::Header&) { end_the_job(); });
  EXPECT_EQ(message_of_connecting(*exchange, server.info()), "somebody else failed");
}

TEST_F(PushPullTest, ConnectingEndsWithAJobThatHasFinished) {
  const auto exchange = make();
  const LaneStub server(key_, LaneStub::Until::greeted_by_worker,
                        [this](const wire::Header&) { shutdown_.finish(); });
  EXPECT_THAT(message_of_connecting(*exchange, server.info()),
              HasSubstr("the job ended while connecting to server 0"));
}

TEST_F(PushPullTest, NobodyConnectsWhenTheJobHasEnded) {
  const auto exchange = make();
  const LaneStub server(key_, LaneStub::Until::greeted_by_worker,
                        [](const wire::Header&) { ADD_FAILURE() << "connected"; });
  end_the_job();
  EXPECT_EQ(message_of_connecting(*exchange, server.info()), "somebody else failed");
}

// Sharing memory: a keeper, which may be slow to reserve it, and a server that is asked to share.
class SharingTest : public PushPullTest {
 protected:
  void start_keeper(cluster::KeeperStore::Reserve reserve) {
    net::Credentials server{key_, wire::Identity{}};
    server.self.process = {Role::server, 0};
    keeper_ = cluster::Keeper::start(server, kNotInThisTest, std::move(reserve));
    client_ = std::make_unique<cluster::KeeperClient>(server, kNotInThisTest);
    client_->put(cluster::wake_name(0, 0), net::SharedMemory::create("wake", 1).descriptor());
  }
};

TEST_F(SharingTest, AskingToShareEndsWithTheJob) {
  start_keeper(&net::SharedMemory::create);
  const auto exchange = make();
  const LaneStub server(key_, LaneStub::Until::asked_to_share, [this](const wire::Header& request) {
    EXPECT_EQ(request.type, wire::FrameType::share);
    end_the_job();
  });
  EXPECT_EQ(message_of_connecting(*exchange, server.info()), "somebody else failed");
}

TEST_F(SharingTest, WaitingForMemoryEndsWithTheJob) {
  std::latch over(1);
  start_keeper([&](const std::string& name, std::size_t bytes) {
    end_the_job();
    over.wait();
    return net::SharedMemory::create(name, bytes);
  });
  const auto exchange = make();
  const LaneStub server(key_, LaneStub::Until::greeted_by_worker, [](const wire::Header&) {});
  EXPECT_EQ(message_of_connecting(*exchange, server.info()), "somebody else failed");
  over.count_down();
  keeper_.reset();  // before the latch that it may still look at
}

// The handshake with the successor of a lost server may fail as any other one: nothing is shared
// with it before, so it is tried again.
TEST_F(SharingTest, ASuccessorIsTriedAgainUntilMemoryIsSharedWithIt) {
  start_keeper(&net::SharedMemory::create);
  const auto exchange = make_returning([] {});
  auto lost = std::make_unique<LaneStub>(key_, LaneStub::Until::shares, [](const wire::Header&) {});
  ASSERT_EQ(message_of_connecting(*exchange, lost->info()), "connected");
  ASSERT_EQ(exchange->shared_lanes(), 1U);
  exchange->start();
  std::promise<void> shares;
  const LaneStub successor(
      key_, LaneStub::Until::shares, [&](const wire::Header&) { shares.set_value(); }, 0, 1);
  lost.reset();
  exchange->moved(in_its_next_life(successor.info()));
  EXPECT_EQ(shares.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
}

TEST_F(SharingTest, AServerThatDoesNotSayWhetherItSharesIsNamed) {
  start_keeper(&net::SharedMemory::create);
  const auto exchange = make(std::chrono::milliseconds(1));
  const LaneStub server(key_, LaneStub::Until::asked_to_share, [](const wire::Header&) {});
  EXPECT_THAT(message_of_connecting(*exchange, server.info()),
              HasSubstr("did not answer within 0.0 s whether it shares memory"));
}

}  // namespace
}  // namespace sheaf::worker
