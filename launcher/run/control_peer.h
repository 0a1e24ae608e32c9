// The coordinator's end of one rank's control connection: whole frames in, queued frames out. Knows
// which frames may come and how long they may be, not what they mean.
// Owned by the coordinator; lives in its thread.
#pragma once

#include <deque>
#include <exception>
#include <functional>
#include <utility>
#include <vector>

#include "common/net/frame_channel.h"
#include "common/wire/messages.h"

namespace sheaf::launcher {

class ControlPeer final : public net::FrameHandler {
 public:
  // A whole frame; the body is lent for the call. Throws to end the connection.
  using OnFrame =
      std::function<void(ControlPeer&, const wire::Header&, std::span<const std::byte> body)>;
  // Once, when the connection has ended; without an error if in peace. Destroys the peer later.
  using OnClosed = std::function<void(ControlPeer&, std::exception_ptr)>;

  // The connection has proved that it is `process`.
  ControlPeer(ProcessId process, std::uint32_t incarnation, net::Connection connection,
              OnFrame on_frame, OnClosed on_closed);

  ProcessId process() const { return process_; }
  std::uint32_t incarnation() const { return incarnation_; }
  void close() { channel_.close(); }
  void beat();
  template <typename Message>
  void send(wire::ControlKind kind, const Message& message) {
    wire::Header header;
    header.type = wire::FrameType::control;
    header.value = static_cast<std::uint64_t>(kind);
    enqueue(header, wire::to_bytes(message));
  }

  // net::FrameHandler
  std::span<std::byte> receive_into(const wire::Header& header) override;
  void on_frame(const wire::Header& header) override { on_frame_(*this, header, body_); }
  std::optional<wire::OutFrame> next_frame() override;
  void on_written(std::size_t count) override;

 private:
  void enqueue(wire::Header header, std::vector<std::byte> body);

  ProcessId process_;
  std::uint32_t incarnation_;
  OnFrame on_frame_;
  std::vector<std::byte> body_;                                         // being received
  std::deque<std::pair<wire::Header, std::vector<std::byte>>> outbox_;  // `taken_` are on their way
  std::size_t taken_ = 0;
  net::FrameChannel channel_;
};

}  // namespace sheaf::launcher
