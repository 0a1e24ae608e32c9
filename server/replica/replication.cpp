#include "server/replica/replication.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "common/base/error.h"
#include "server/replica/replica.h"

namespace sheaf::server {

using wire::FrameType;
using wire::OutFrame;

Replication::Replication(const std::vector<Chunk>& chunks, const CopyShape& shape, Fill fill)
    : shape_(shape), fill_(std::move(fill)) {
  for (const Chunk& chunk : chunks) {
    entries_.push_back({chunk, 0, PartitionClocks(std::max(1U, shape.clocks))});
  }
}

void Replication::on_connected() {
  connected_ = true;
  said_whole_ = false;
  waiting_.clear();
  sent_.clear();
  writing_.clear();
  sender_ = {};
  copying_ = false;
  for (Entry& entry : entries_) {
    entry.copy_waits = false;
    entry.sums_held = 0;
  }
}

void Replication::copy(std::size_t n) {
  if (!connected_ || entries_[n].copy_waits) return;
  entries_[n].copy_waits = true;
  waiting_.push_back({n, 0, {}, true, {}});
}

bool Replication::wants_sum(std::size_t n) const {
  const Entry& entry = entries_[n];
  return connected_ && !entry.copy_waits && entry.sums_held < kMostSums;
}

void Replication::step(std::size_t n, const Taken& taken, Buffer sum) {
  if (!wants_sum(n)) return copy(n);
  Entry& entry = entries_[n];
  OutFrame frame;
  frame.header.type = FrameType::replicate;
  frame.header.status = sum ? 0 : 1;
  frame.header.chunk = entry.chunk.id;
  frame.header.step = taken.before;
  frame.header.value = std::bit_cast<std::uint64_t>(sum ? taken.gradient_scale : taken.scalar);
  if (taken.partition) frame.header.partitions = {*taken.partition, 1};
  if (sum) {
    const auto bytes = sum.bytes().first(sum_bytes(entry.chunk.elements));
    std::byte* const tail = bytes.data() + entry.chunk.elements * sizeof(float);
    std::memcpy(tail, &taken.rate, sizeof taken.rate);
    std::memcpy(tail + sizeof taken.rate, &taken.scalar, sizeof taken.scalar);
    frame.payload = bytes;
    frame.header.payload_bytes = static_cast<std::uint32_t>(bytes.size());
    frame.hold = std::move(sum);
  }
  ++entry.sums_held;
  waiting_.push_back({n, taken.before + 1, taken.partition, false, std::move(frame)});
}

OutFrame Replication::begin_copy(std::size_t n) {
  Entry& entry = entries_[n];
  entry.copy_waits = false;
  copying_ = true;
  copy_ = ChunkCopy(entry.chunk.elements, shape_);
  fill_(n, copy_);
  sender_.begin(entry.chunk.id, copy_);
  sent_.push_back({n, copy_.version, {}, copy_.clocks});
  return sender_.next();
}

std::optional<OutFrame> Replication::next_frame() {
  if (!connected_) return std::nullopt;
  if (sender_.more()) return sender_.next();
  if (waiting_.empty()) {
    if (std::exchange(said_whole_, true)) return std::nullopt;
    OutFrame whole;
    whole.header.type = FrameType::replica;
    whole.header.status = static_cast<std::uint8_t>(wire::ReplicaWord::whole);
    return whole;
  }
  if (waiting_.front().copy && copying_) return std::nullopt;
  Waiting next = std::move(waiting_.front());
  waiting_.pop_front();
  if (next.copy) return begin_copy(next.n);
  writing_.push_back(next.n);
  sent_.push_back({next.n, next.version, next.partition, {}});
  return std::move(next.frame);
}

void Replication::on_written() {
  for (const std::size_t n : writing_) --entries_[n].sums_held;
  writing_.clear();
  if (!sender_.more()) copying_ = false;
}

std::size_t Replication::on_replicated(const wire::Header& header) {
  if (sent_.empty() || entries_[sent_.front().n].chunk.id != header.chunk ||
      sent_.front().version != header.step) {
    fail(Fault::network, "replicated version {} of chunk {}: that was not sent, or not in turn",
         header.step, header.chunk);
  }
  const Sent sent = std::move(sent_.front());
  sent_.pop_front();
  Entry& entry = entries_[sent.n];
  entry.versions = std::max(entry.versions, sent.version + 1);
  if (!sent.clocks.empty()) {
    for (std::uint32_t p = 0; p < shape_.clocks; ++p) entry.clocks.pass(p, sent.clocks[p]);
  } else if (sent.partition) {
    entry.clocks.advance({*sent.partition, 1});
  }
  return sent.n;
}

void Replication::begin_at(std::size_t n, Version versions, const PartitionClocks& clocks) {
  entries_[n].versions = versions;
  if (shape_.clocks != 0) entries_[n].clocks = clocks;
}

bool Replication::has(std::size_t n, const wire::Header& request) const {
  const Entry& entry = entries_[n];
  if (request.type == FrameType::init) return entry.versions != 0;
  if (shape_.clocks != 0) return entry.clocks.slowest(request.partitions) > request.step;
  return entry.versions > request.step + 1;
}

Step Replication::clock(std::size_t n, std::uint32_t partition) const {
  const Entry& entry = entries_[n];
  if (shape_.clocks != 0) return entry.clocks.slowest({partition, 1});
  return entry.versions == 0 ? 0 : entry.versions - 1;
}

std::size_t Replication::memory_bound() const {
  std::size_t most = 0;
  for (const Entry& entry : entries_) most = std::max(most, entry.chunk.elements);
  return most * shape_.floats() * sizeof(float) +
         (entries_.size() + 1) * shape_.clocks * sizeof(Step);
}

}  // namespace sheaf::server
