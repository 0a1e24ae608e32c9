// Moves frames over one connection: a reader and a writer coroutine, and nothing else. What to send
// and what a frame means is decided by the handler, plain code without sockets.
//
// Headers are verified before their payload is read, payloads after. Payloads are read straight
// into the memory that the handler names and written from where they lie; nothing is copied here.
// Lives on one thread's io_context; the handler outlives it. Not thread-safe.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <optional>

#include "common/net/connection.h"
#include "common/net/loop.h"
#include "common/wire/out_frame.h"

namespace sheaf::net {

class FrameHandler {
 public:
  virtual ~FrameHandler() = default;
  // Whether another frame may come in. While it may not, the peer is left to wait; asked again when
  // frames have been written, and by wake().
  virtual bool may_receive() const { return true; }
  // Where the payload of this frame goes: exactly payload_bytes. Throws to refuse the frame.
  virtual std::span<std::byte> receive_into(const wire::Header& header) = 0;
  // A whole, verified frame. Throws to end the connection.
  virtual void on_frame(const wire::Header& header) = 0;
  // The next frame to send, if there is one.
  virtual std::optional<wire::OutFrame> next_frame() = 0;
  // The oldest `count` frames that next_frame() gave have been written; their payloads are free.
  virtual void on_written(std::size_t /*count*/) {}
};

class FrameChannel {
 public:
  // Called once, when the connection has ended: with the error, or null when the peer closed
  // between two frames.
  using OnClosed = std::function<void(std::exception_ptr)>;

  FrameChannel(Connection connection, FrameHandler& handler, OnClosed on_closed);
  ~FrameChannel();
  FrameChannel(const FrameChannel&) = delete;
  FrameChannel& operator=(const FrameChannel&) = delete;

  // Starts reading and writing.
  void start();
  // Says that next_frame() may have something, or that may_receive() may have become true.
  void wake();
  // Ends the connection: nothing more is handed over, and on_closed is called soon after.
  void close();
  Connection& connection() { return connection_; }
  // Bytes of frames (header + payload) so far.
  std::uint64_t sent() const { return sent_; }
  std::uint64_t received() const { return received_; }

 private:
  Loop read_loop();
  Loop write_loop();
  void written_to_the_end(std::exception_ptr error);
  void ended(std::exception_ptr error);
  void let_in();

  Connection connection_;
  FrameHandler& handler_;
  OnClosed on_closed_;
  using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                           asio::wait_traits<std::chrono::steady_clock>, Executor>;
  Timer idle_;  // a condition variable: never expires, is cancelled by wake()
  Timer full_;  // the same, of the reader
  bool waiting_ = false;
  bool held_back_ = false;
  bool closing_ = false;
  bool deaf_ = false;  // the peer takes nothing any more; what it has said is still read
  int loops_ = 0;      // that have not ended
  OperationMemory read_memory_;
  OperationMemory write_memory_;
  Loop reader_;
  Loop writer_;
  std::exception_ptr error_;
  std::uint64_t sent_ = 0;
  std::uint64_t received_ = 0;
};

}  // namespace sheaf::net
