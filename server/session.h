// One worker's connection to a lane: receives frames into the shard's memory and sends its answers.
// Owned by the lane; lives in the lane's thread.
#pragma once

#include <exception>
#include <functional>
#include <vector>

#include "common/net/frame_channel.h"
#include "server/shard/shard.h"

namespace sheaf::server {

class Session final : public net::FrameHandler {
 public:
  using OnClosed = std::function<void(Session&, std::exception_ptr)>;
  // The worker asks to share memory; says whether it is done.
  using OnShare = std::function<wire::ShareStatus(Session&, const wire::Header&)>;

  Session(SessionId id, ProcessId peer, std::uint32_t incarnation, net::Connection connection,
          Shard& shard, OnShare on_share, OnClosed on_closed);

  void start() { channel_.start(); }
  void send(wire::OutFrame frame);
  void close() { channel_.close(); }
  // Ends it with an error of its own making.
  void fail(std::exception_ptr error);
  SessionId id() const { return id_; }
  ProcessId peer() const { return peer_; }
  std::uint32_t incarnation() const { return incarnation_; }

  // net::FrameHandler
  bool may_receive() const override;
  std::span<std::byte> receive_into(const wire::Header& header) override;
  void on_frame(const wire::Header& header) override;
  std::optional<wire::OutFrame> next_frame() override;

 private:
  SessionId id_;
  ProcessId peer_;
  std::uint32_t incarnation_;
  Shard& shard_;
  OnShare on_share_;
  std::exception_ptr error_;
  Buffer payload_;                      // of the frame being received
  std::vector<wire::OutFrame> outbox_;  // [head_, size) is waiting
  std::size_t head_ = 0;
  net::FrameChannel channel_;
};

}  // namespace sheaf::server
