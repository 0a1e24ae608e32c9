#include "launcher/run/control_peer.h"

#include "common/base/error.h"

namespace sheaf::launcher {

using wire::FrameType;
using wire::Header;

namespace {

constexpr std::size_t kTensorBytes = 4U << 20;  // of one part of the final model

bool may_come(const Header& header) {
  switch (header.type) {
    case FrameType::beat: return header.payload_bytes == 0;
    case FrameType::control: return header.payload_bytes <= wire::kControlBytes;
    case FrameType::tensor: return header.payload_bytes <= kTensorBytes;
    default: return false;
  }
}

}  // namespace

ControlPeer::ControlPeer(ProcessId process, std::uint32_t incarnation, net::Connection connection,
                         OnFrame on_frame, OnClosed on_closed)
    : process_(process),
      incarnation_(incarnation),
      on_frame_(std::move(on_frame)),
      channel_(std::move(connection), *this,
               [this, closed = std::move(on_closed)](std::exception_ptr error) {
                 closed(*this, error);
               }) {
  channel_.start();
}

void ControlPeer::beat() {
  Header header;
  header.type = FrameType::beat;
  enqueue(header, {});
}

void ControlPeer::enqueue(Header header, std::vector<std::byte> body) {
  header.payload_bytes = static_cast<std::uint32_t>(body.size());
  outbox_.push_back({header, std::move(body)});
  channel_.wake();
}

std::span<std::byte> ControlPeer::receive_into(const Header& header) {
  if (!may_come(header)) {
    fail(Fault::network, "{} of {} bytes is no frame for the coordinator", to_string(header.type),
         header.payload_bytes);
  }
  body_.resize(header.payload_bytes);
  return body_;
}

std::optional<wire::OutFrame> ControlPeer::next_frame() {
  if (taken_ == outbox_.size()) return std::nullopt;
  const auto& [header, body] = outbox_[taken_++];
  return wire::OutFrame{header, body, {}, false};
}

void ControlPeer::on_written(std::size_t count) {
  outbox_.erase(outbox_.begin(), outbox_.begin() + static_cast<std::ptrdiff_t>(count));
  taken_ -= count;
}

}  // namespace sheaf::launcher
