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
  const bool moved = put_waiting();
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
  return moved || handled != 0;
}

// Nobody reads there: the worker has asked for this answer, and waits for it.
void SharedSession::write(const wire::OutFrame& answer) {
  const params::Chunk& chunk = shard_.chunks()[answer.header.chunk];
  const std::size_t stride = cluster::shared_vector_floats(shard_.chunks().elements());
  const std::span<float> vector =
      memory_.incoming.floats().subspan(answer.header.step % 2 * stride);
  std::ranges::copy(answer.payload,
                    std::as_writable_bytes(vector.subspan(chunk.offset, chunk.size)).begin());
}

void SharedSession::send(const wire::OutFrame& frame) {
  if (frame.header.type == wire::FrameType::pull_reply && !frame.payload.empty()) {
    write(frame);
    wire::OutFrame header;
    header.header = frame.header;
    return send(header);
  }
  if (waiting_.empty() && put(frame.header, frame.payload)) return;
  if (waiting_.size() == answers_.capacity()) {
    // Said by poll(), in the name of this worker: another one's push may have brought us here.
    overrun_ = true;
    return;
  }
  waiting_.push_back({frame.header, {frame.payload.begin(), frame.payload.end()}});
}

// The rest of one answer, a set of partitions in words of 64 bits; false if the ring is full.
bool SharedSession::put(const wire::Header& header, std::span<const std::byte> bits) {
  do {
    net::RingFrame out{header, at_};
    if (!bits.empty()) {
      const auto word = bits.subspan(at_, std::min(sizeof(std::uint64_t), bits.size() - at_));
      out.header.value = 0;
      std::memcpy(&out.header.value, word.data(), word.size());
    }
    if (!answers_.push(out)) return false;
    sent_ = true;
    urgent_ |= !bits.empty();
    at_ += sizeof(std::uint64_t);
  } while (at_ < bits.size());
  at_ = 0;
  return true;
}

bool SharedSession::put_waiting() {
  const auto before = std::pair(waiting_.size(), at_);
  while (!waiting_.empty() && put(waiting_.front().header, waiting_.front().bits)) {
    waiting_.pop_front();
  }
  return before != std::pair(waiting_.size(), at_);
}

void SharedSession::ring() {
  if (!std::exchange(sent_, false)) return;
  if (answers_.must_wake(std::exchange(urgent_, false))) bell_.ring();
}

}  // namespace sheaf::server
