#include "server/shared_session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/error.h"

namespace sheaf::server {
namespace {

// Frames of one session that are handled before the others have their turn.
constexpr int kTurn = 16;

constexpr std::uint8_t kNeededBack = 1;  // status of a push, see FORMAT.md

}  // namespace

SharedSession::SharedSession(SessionId id, SessionId wire, Memory memory,
                             const cluster::SharedLinks& links, Shard& shard)
    : id_(id),
      wire_(wire),
      memory_(std::move(memory)),
      shard_(shard),
      requests_(links.requests(memory_.lane)),
      answers_(links.answers(memory_.lane)),
      bell_(links.bell()) {}

bool SharedSession::poll() {
  if (overrun_) {
    fail(Fault::network,
         "ring of answers: full; expected at most one request for each frame of it");
  }
  net::RingFrame frame;
  int handled = 0;
  for (; handled < kTurn && requests_.pop(frame); ++handled) {
    const wire::Header& header = frame.header;
    const std::size_t limit = shard_.payload_limit(header);
    const auto all = std::span<const std::byte>(memory_.outgoing.bytes());
    if (header.payload_bytes > limit || frame.at > all.size() ||
        header.payload_bytes > all.size() - frame.at || frame.at % sizeof(float) != 0) {
      fail(Fault::network,
           "{} for chunk {}: found {} bytes at {} of shared memory, expected at most {} bytes "
           "within its {}",
           to_string(header.type), header.chunk, header.payload_bytes, frame.at, limit, all.size());
    }
    Buffer payload;
    const auto values = all.subspan(frame.at, header.payload_bytes);
    if (header.status == kNeededBack) {
      payload = shard_.take_buffer();
      std::ranges::copy(values, payload.bytes().begin());
    } else if (!values.empty()) {
      payload = shard_.borrow(id_, header, values);
    }
    shard_.on_frame(id_, header, std::move(payload));
  }
  return handled != 0;
}

void SharedSession::send(const wire::OutFrame& frame) {
  // The only payload is the set of partitions of a partial push: it goes in words of 64 bits.
  const std::size_t bytes = frame.payload.size();
  for (std::size_t at = 0; at == 0 || at < bytes; at += sizeof(std::uint64_t)) {
    net::RingFrame out{frame.header, at};
    if (bytes != 0) {
      out.header.value = 0;
      std::memcpy(&out.header.value, frame.payload.data() + at,
                  std::min(sizeof(std::uint64_t), bytes - at));
    }
    // Said by poll(), in the name of this worker: another one's push may have brought us here.
    if (!answers_.push(out)) overrun_ = true;
  }
  sent_ = true;
}

void SharedSession::ring() {
  if (std::exchange(sent_, false)) bell_.ring();
}

}  // namespace sheaf::server
