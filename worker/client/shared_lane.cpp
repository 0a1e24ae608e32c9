#include "worker/client/shared_lane.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "common/base/error.h"

namespace sheaf::worker {

using wire::FrameType;
using wire::Header;

SharedLane::SharedLane(PushPull& owner, params::LaneId lane, ExchangeMemory::Lane shared)
    : owner_(owner),
      shared_(std::move(shared)),
      // Pushes cost the server no memory: they need no credit.
      exchange_({.partitions = owner.options_.partitions,
                 .window = std::numeric_limits<std::uint32_t>::max(),
                 .entries = 4 * owner.shards_.chunks_of(lane).size() + 64},
                *this) {}

void SharedLane::push(Step step, std::uint32_t chunk, PartitionRange partitions,
                      std::uint64_t examples, std::span<const std::byte> payload,
                      Exchange::Lend lend) {
  const std::lock_guard lock(mutex_);
  exchange_.push(step, chunk, partitions, examples, payload, lend);
  ++unsettled_;
  unsent_ = true;
}

void SharedLane::end(Step step, PartitionRange partitions, std::uint64_t examples) {
  const std::lock_guard lock(mutex_);
  exchange_.end(step, partitions, examples);
  ++unsettled_;
  unsent_ = true;
}

void SharedLane::pull(Step clock, std::uint32_t chunk, std::span<float> into) {
  const std::lock_guard lock(mutex_);
  exchange_.pull(clock, chunk, owner_.options_.hosted, std::as_writable_bytes(into));
  unsent_ = true;
}

void SharedLane::flush() {
  const std::lock_guard lock(mutex_);
  if (!suspended_ && std::exchange(unsent_, false)) send();
}

// What does not fit now goes out when answers have made room.
void SharedLane::send() {
  bool any = false;
  while (open_ < shared_.requests.capacity()) {
    const auto frame = exchange_.next(TimePoint{});
    if (!frame) break;
    const net::RingFrame request{frame->header, owner_.memory_.seen_at(frame->payload).value_or(0)};
    check(shared_.requests.push(request), "a ring has room for every request without an answer");
    ++open_;
    any = true;
    if (frame->header.type == FrameType::push) {
      traffic_.push_bytes += wire::kHeaderBytes + frame->payload.size();
      traffic_.push_bytes_raw += wire::kHeaderBytes + owner_.chunks_[frame->header.chunk].bytes();
    }
  }
  if (any) wake_lane();
}

void SharedLane::wake_lane(bool urgent) {
  if (!shared_.requests.must_wake(urgent)) return;
  const std::uint64_t one = 1;
  // It fails only when the counter is full, and then the lane is awake.
  [[maybe_unused]] const ssize_t written = ::write(shared_.wake.get(), &one, sizeof one);
}

bool SharedLane::poll() {
  const std::lock_guard lock(mutex_);
  if (suspended_) return false;
  bool any = false;
  bool words = false;
  for (net::RingFrame answer; shared_.answers.pop(answer); any = true) {
    Header& header = answer.header;
    if (header.payload_bytes != 0) {  // the next 64 partitions of a partial push
      words = true;
      const std::size_t bytes = header.payload_bytes;
      if (answer.at >= bytes)
        fail(Fault::network, "partial push_ack: word at {} of {}", answer.at, bytes);
      missing_.resize(bytes);
      const std::size_t part = std::min<std::size_t>(sizeof header.value, bytes - answer.at);
      std::memcpy(missing_.data() + answer.at, &header.value, part);
      if (answer.at + part < bytes) continue;
      std::ranges::copy(missing_, exchange_.receive_into(header).begin());
    }
    --open_;
    exchange_.on_frame(header);
  }
  if (any) send();
  // More of them may wait for room. Without words nothing does: each request has its frame.
  if (words) wake_lane(true);
  return any;
}

// The replies to pulls count, too, so we may be woken before all is settled, but never too late.
// Where something has not been sent for want of room, the next answer makes some.
void SharedLane::ask_wake(PushPull::Awaited what) {
  const std::lock_guard lock(mutex_);
  if (suspended_) return;
  const bool all = what == PushPull::Awaited::acknowledgements && exchange_.open() == open_;
  shared_.answers.ask_wake(all ? std::max<std::size_t>(unsettled_, 1) : 1);
}

void SharedLane::stay_awake() {
  const std::lock_guard lock(mutex_);
  if (!suspended_) shared_.answers.stay_awake();
}

void SharedLane::suspend() {
  const std::lock_guard lock(mutex_);
  suspended_ = true;
}

void SharedLane::resume(ExchangeMemory::Lane shared) {
  {
    const std::lock_guard lock(mutex_);
    shared_ = std::move(shared);
    open_ = 0;
    sent_again_ = exchange_.on_reconnected();
    suspended_ = false;
    unsent_ = false;
    send();
  }
  owner_.memory_.bell().ring();  // who sleeps has not asked the new server to wake it
}

std::size_t SharedLane::sent_again() const {
  const std::lock_guard lock(mutex_);
  return sent_again_;
}

wire::Traffic SharedLane::traffic() const {
  const std::lock_guard lock(mutex_);
  return traffic_;
}

std::optional<Header> SharedLane::oldest() const {
  const std::lock_guard lock(mutex_);
  return exchange_.oldest();
}

void SharedLane::on_arrived(std::uint32_t chunk, Step clock, Version version, std::size_t) {
  const params::Chunk& c = owner_.chunks_[chunk];
  owner_.memory_.gather(chunk, clock);
  traffic_.pull_bytes += wire::kHeaderBytes + c.bytes();
  traffic_.pull_bytes_raw += wire::kHeaderBytes + c.bytes();
  owner_.arrived(chunk, clock, version);
}

void SharedLane::on_superseded(std::uint32_t chunk) { owner_.superseded(chunk); }

void SharedLane::on_settled(const Header&) {
  --unsettled_;
  owner_.settled();
}

void SharedLane::on_partial(const Header& request, std::span<const std::uint32_t> missing) {
  --unsettled_;
  owner_.partial({request.step, request.chunk, {missing.begin(), missing.end()}});
}

}  // namespace sheaf::worker
