#include "common/net/frame_channel.h"

#include <array>

#include "common/base/error.h"
#include "common/wire/checksum.h"

namespace sheaf::net {
namespace {

// One write gathers at most this many frames, and stops after a payload this large.
constexpr std::size_t kFramesPerWrite = 16;
constexpr std::size_t kLargePayload = 64U << 10;

// Reads all of `bytes` within a Loop.
auto read_whole(Connection& connection, OperationMemory& memory, std::span<std::byte> bytes) {
  return Operation(memory,
                   [&connection, bytes](auto handler) { connection.async_read(bytes, handler); });
}

}  // namespace

FrameChannel::FrameChannel(Connection connection, FrameHandler& handler, OnClosed on_closed)
    : connection_(std::move(connection)),
      handler_(handler),
      on_closed_(std::move(on_closed)),
      idle_(connection_.executor(), Timer::time_point::max()),
      full_(connection_.executor(), Timer::time_point::max()) {}

FrameChannel::~FrameChannel() { check(loops_ == 0, "a channel is destroyed after it has ended"); }

void FrameChannel::start() {
  loops_ = 2;
  reader_ = read_loop();
  writer_ = write_loop();
  reader_.start([this](std::exception_ptr error) { ended(error); });
  writer_.start([this](std::exception_ptr error) { written_to_the_end(error); });
}

void FrameChannel::wake() {
  if (waiting_) idle_.cancel();
  let_in();
}

void FrameChannel::let_in() {
  if (held_back_ && handler_.may_receive()) full_.cancel();
}

void FrameChannel::close() {
  closing_ = true;
  connection_.close();
  idle_.cancel();
  full_.cancel();
}

// Who has left may have said why before: a write that fails for that ends no reading. The reader
// comes to the end of what was said.
void FrameChannel::written_to_the_end(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const ConnectionLost&) {
    deaf_ = loops_ == 2 && !closing_ && !held_back_;
  } catch (...) {
  }
  if (!deaf_) return ended(error);
  --loops_;
  error_ = error;
}

void FrameChannel::ended(std::exception_ptr error) {
  if (error && !error_ && !closing_) error_ = error;
  close();
  if (--loops_ == 0) on_closed_(error_);
}

Loop FrameChannel::read_loop() {
  wire::HeaderBytes bytes;
  wire::Header header;
  while (true) {
    while (!closing_ && !handler_.may_receive()) {
      if (deaf_) co_return;  // nothing that it waits for will be written
      Operation waiting(read_memory_, [this](auto handler) { full_.async_wait(handler); });
      held_back_ = true;
      co_await waiting;
      held_back_ = false;
    }
    auto reading = read_whole(connection_, read_memory_, bytes);
    const auto head = co_await reading;
    if (closing_) co_return;  // what has come is of no interest
    if (!connection_.read_result(head.error, head.bytes, bytes.size())) break;
    if (const auto fault = wire::decode(bytes, header); fault != wire::HeaderFault::none) {
      fail(Fault::network, "frame from {}: {}", connection_.peer(), to_string(fault));
    }
    const auto payload = handler_.receive_into(header);
    if (header.payload_bytes != 0) {
      auto receiving = read_whole(connection_, read_memory_, payload);
      const auto body = co_await receiving;
      if (closing_) co_return;
      if (!connection_.read_result(body.error, body.bytes, payload.size())) {
        throw ConnectionLost(Fault::network,
                             fmt::format("connection to {}: closed before the payload of a {}",
                                         connection_.peer(), to_string(header.type)),
                             std::source_location::current());
      }
    }
    if (wire::crc32c(payload) != header.payload_crc) {
      fail(Fault::network, "frame from {}: wrong payload checksum of a {}", connection_.peer(),
           to_string(header.type));
    }
    received_ += wire::kHeaderBytes + header.payload_bytes;
    handler_.on_frame(header);
  }
}

Loop FrameChannel::write_loop() {
  std::array<wire::HeaderBytes, kFramesPerWrite> headers;
  std::array<wire::OutFrame, kFramesPerWrite> frames;
  std::array<asio::const_buffer, 2 * kFramesPerWrite> buffers;
  while (!closing_) {
    std::size_t count = 0;
    std::size_t parts = 0;
    while (count < kFramesPerWrite) {
      auto frame = handler_.next_frame();
      if (!frame) break;
      if (!frame->crc_known) frame->header.payload_crc = wire::crc32c(frame->payload);
      headers[count] = wire::encode(frame->header);
      buffers[parts++] = asio::buffer(headers[count]);
      const std::size_t payload = frame->payload.size();
      if (payload != 0) buffers[parts++] = asio::buffer(frame->payload.data(), payload);
      sent_ += wire::kHeaderBytes + payload;
      frames[count++] = std::move(*frame);
      if (payload >= kLargePayload) break;
    }
    if (count == 0) {
      Operation waiting(write_memory_, [this](auto handler) { idle_.async_wait(handler); });
      waiting_ = true;
      co_await waiting;
      waiting_ = false;
      continue;
    }
    const Gather all{buffers.data(), parts};
    Operation writing(write_memory_, [&](auto handler) { connection_.async_write(all, handler); });
    const auto written = co_await writing;
    connection_.write_result(written.error);
    for (std::size_t i = 0; i < count; ++i) frames[i] = {};
    handler_.on_written(count);
    let_in();
  }
}

}  // namespace sheaf::net
