// A connection of a primary to the lane that keeps its replica. Owned by the lane; lives in its
// thread.
#pragma once

#include <exception>
#include <functional>

#include "common/net/frame_channel.h"
#include "server/replica/replica.h"

namespace sheaf::server {

class ReplicaSession final : public net::FrameHandler {
 public:
  using OnClosed = std::function<void(ReplicaSession&, std::exception_ptr)>;
  ReplicaSession(ProcessId primary, net::Connection connection, Replica& replica,
                 OnClosed on_closed)
      : primary_(primary),
        replica_(replica),
        channel_(std::move(connection), *this,
                 [this, on_closed = std::move(on_closed)](std::exception_ptr error) {
                   on_closed(*this, error);
                 }) {
    replica_.on_connected();
  }

  void start() { channel_.start(); }
  // From now on it says nothing more to the replica.
  void close() { channel_.close(); }
  ProcessId primary() const { return primary_; }

  // net::FrameHandler
  std::span<std::byte> receive_into(const wire::Header& header) override {
    return replica_.receive_into(header);
  }
  void on_frame(const wire::Header& header) override {
    replica_.on_frame(header);
    channel_.wake();
  }
  std::optional<wire::OutFrame> next_frame() override { return replica_.next_frame(); }

 private:
  ProcessId primary_;
  Replica& replica_;
  net::FrameChannel channel_;
};

}  // namespace sheaf::server
