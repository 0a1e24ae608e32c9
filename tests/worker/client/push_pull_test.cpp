// What PushPull promises about its end; its work is tested by tests/cluster.
#include "worker/client/push_pull.h"

#include <gmock/gmock.h>

#include "common/base/error.h"
#include "common/config/section.h"
#include "common/net/listener.h"

namespace sheaf::worker {
namespace {

class PushPullTest : public testing::Test {
 protected:
  PushPullTest() { layout_.add("weight", {32}, {}); }

  std::unique_ptr<PushPull> make() {
    PushPull::Options options;
    options.hosted = {0, 1};
    options.credentials = {wire::JobKey(), wire::Identity{}};
    options.warn = [](const std::string&) {};
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
  const std::jthread failing([this] {
    shutdown_.fail(std::make_exception_ptr(
        Error(Fault::data, "somebody else failed", std::source_location::current())));
  });
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
  wire::ProcessInfo info;
  info.address = "127.0.0.1";
  {
    const net::Listener listener(other_, "127.0.0.1", {});
    info.ports = {listener.endpoint().port};  // free again below
  }
  try {
    exchange->connect({info});
    FAIL() << "connected to nobody";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::network);
    EXPECT_THAT(error.message(), testing::HasSubstr("cannot connect to server 0"));
  }
}

}  // namespace
}  // namespace sheaf::worker
