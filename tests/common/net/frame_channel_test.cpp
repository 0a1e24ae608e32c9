// What goes over a connection when one end leaves.
#include "common/net/frame_channel.h"

#include <gmock/gmock.h>

#include <vector>

namespace sheaf::net {
namespace {

using testing::ElementsAre;

// Sends beats of the steps it is given, and keeps the steps of those that it hears.
class Talker final : public FrameHandler {
 public:
  explicit Talker(std::vector<Step> says) : says_(std::move(says)) {}
  std::span<std::byte> receive_into(const wire::Header&) override { return {}; }
  void on_frame(const wire::Header& header) override {
    heard.push_back(header.step);
    if (on_heard) on_heard();
  }
  std::optional<wire::OutFrame> next_frame() override {
    if (said_ == says_.size()) return std::nullopt;
    wire::OutFrame frame;
    frame.header.type = wire::FrameType::beat;
    frame.header.step = says_[said_++];
    return frame;
  }
  void on_written(std::size_t) override {
    if (said_ == says_.size() && leave) leave();
  }
  std::vector<Step> heard;
  std::function<void()> on_heard;
  std::function<void()> leave;  // when all is said

 private:
  std::vector<Step> says_;
  std::size_t said_ = 0;
};

// A rank says why it fails and is gone: the one that it tells is about to write to it, which fails.
TEST(FrameChannelTest, WhatWasSaidBeforeLeavingIsHeard) {
  asio::io_context there{1};
  asio::io_context here{1};
  auto [ours, theirs] = connected_pair(here, there);
  {
    Talker leaving({1, 2, 3});
    FrameChannel channel(std::move(theirs), leaving, [](std::exception_ptr) {});
    leaving.leave = [&] { channel.close(); };
    channel.start();
    there.run();
  }
  Talker talker({7, 8});
  std::exception_ptr error;
  bool closed = false;
  FrameChannel channel(std::move(ours), talker, [&](std::exception_ptr e) {
    closed = true;
    error = std::move(e);
  });
  channel.start();
  here.run();
  EXPECT_TRUE(closed);
  EXPECT_THAT(talker.heard, ElementsAre(1, 2, 3));
  ASSERT_TRUE(error);
  EXPECT_THROW(std::rethrow_exception(error), ConnectionLost);
}

// The second frame has been read when the channel is closed, and is waiting for its turn.
TEST(FrameChannelTest, WhoIsClosedIsNotHeardAnyMore) {
  asio::io_context there{1};
  asio::io_context here{1};
  auto [ours, theirs] = connected_pair(here, there);
  {
    Talker leaving({1, 2, 3});
    FrameChannel channel(std::move(theirs), leaving, [](std::exception_ptr) {});
    leaving.leave = [&] { channel.close(); };
    channel.start();
    there.run();
  }
  Talker talker({});
  FrameChannel channel(std::move(ours), talker, [](std::exception_ptr) {});
  talker.on_heard = [&] { asio::post(here, [&] { channel.close(); }); };
  channel.start();
  here.run();
  EXPECT_THAT(talker.heard, ElementsAre(1));
}

}  // namespace
}  // namespace sheaf::net
