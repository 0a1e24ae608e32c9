#include "server/session.h"

#include "common/base/error.h"

namespace sheaf::server {
namespace {

// Answers that may wait for a worker to read them; then its next requests wait in its own socket.
// More than a step usually has, at about a hundred bytes each.
constexpr std::size_t kMostUnread = 1024;

}  // namespace

Session::Session(SessionId id, ProcessId peer, std::uint32_t incarnation,
                 net::Connection connection, Shard& shard, OnShare on_share, OnClosed on_closed)
    : id_(id),
      peer_(peer),
      incarnation_(incarnation),
      shard_(shard),
      on_share_(std::move(on_share)),
      channel_(std::move(connection), *this,
               [this, on_closed = std::move(on_closed)](std::exception_ptr error) {
                 on_closed(*this, error_ ? error_ : error);
               }) {
  outbox_.reserve(64);
}

void Session::fail(std::exception_ptr error) {
  error_ = std::move(error);
  channel_.close();
}

void Session::send(wire::OutFrame frame) {
  // What has been taken makes room before the memory grows.
  if (head_ == outbox_.size() || (head_ != 0 && outbox_.size() == outbox_.capacity())) {
    outbox_.erase(outbox_.begin(), outbox_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
  outbox_.push_back(std::move(frame));
  channel_.wake();
}

bool Session::may_receive() const { return outbox_.size() - head_ < kMostUnread; }

std::span<std::byte> Session::receive_into(const wire::Header& header) {
  if (header.type == wire::FrameType::share && header.payload_bytes == 0) return {};
  const std::size_t limit = shard_.payload_limit(header);
  if (header.payload_bytes > limit) {
    sheaf::fail(Fault::network, "{} for chunk {}: found {} bytes of payload, expected at most {}",
                to_string(header.type), header.chunk, header.payload_bytes, limit);
  }
  if (header.payload_bytes == 0) return {};
  payload_ = shard_.take_buffer();
  return payload_.bytes().first(header.payload_bytes);
}

void Session::on_frame(const wire::Header& header) {
  if (header.type == wire::FrameType::share) {
    wire::OutFrame answer;
    answer.header = header;
    answer.header.type = wire::FrameType::share_ack;
    answer.header.status = static_cast<std::uint8_t>(on_share_(*this, header));
    return send(std::move(answer));
  }
  shard_.on_frame(id_, header, std::exchange(payload_, {}));
}

std::optional<wire::OutFrame> Session::next_frame() {
  if (head_ == outbox_.size()) return std::nullopt;
  return std::move(outbox_[head_++]);
}

}  // namespace sheaf::server
