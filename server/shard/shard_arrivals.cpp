// What arrives from workers: whether a push, an end or the first values are new here, where they
// go, and what their sender is told.
#include <algorithm>

#include "common/base/error.h"
#include "server/shard/shard.h"

namespace sheaf::server {

using wire::FrameType;
using wire::Header;
using wire::OutFrame;
using wire::PushStatus;

void Shard::on_init(SessionId session, const Header& header, Buffer payload) {
  ChunkState& state = state_of(header);
  if (header.payload_bytes != state.chunk->bytes()) {
    fail(Fault::network, "init of chunk {}: found {} bytes, expected {}", header.chunk,
         header.payload_bytes, state.chunk->bytes());
  }
  if (!state.initialised()) {
    std::ranges::copy(payload.floats(state.chunk->size), room(state, 0).begin());
    follow(state);
    commit(state);
    replicate_whole(state);
    checkpoint(state);
  }
  settle(state, session, header, FrameType::init_ack);
  answer_parked(state);
}

void Shard::on_push(SessionId session, const Header& header, Buffer payload) {
  ChunkState& state = state_of(header);
  if (!tree_.is_node(header.partitions)) {
    fail(Fault::network, "push for partitions {}..{}, which is no node of the tree over {}",
         header.partitions.first, header.partitions.end(), parts_.partitions);
  }
  if (!parts_.gate.exact() && header.partitions.count != 1) {
    fail(Fault::network, "push for partitions {}..{}, expected one: each counts by itself",
         header.partitions.first, header.partitions.end());
  }
  if (!follows(state, header.partitions, header.step)) {
    fail(Fault::network, "push for step {} of chunk {}, which is at step {}", header.step,
         header.chunk, step_of(state));
  }
  if (header.value == 0) {
    fail(Fault::network, "push for step {} of chunk {} without examples", header.step,
         header.chunk);
  }
  const bool again = state.clocks.has(header.partitions.first, header.step);
  if (drops_ && is_late(state, header.partitions, header.step)) {
    if (again) ++duplicates_;
    return acknowledge(session, header, FrameType::push_ack, PushStatus::duplicate);
  }
  using Offer = PartitionClocks::Offer;
  const Offer offer = state.clocks.offer(header.partitions, header.step);
  if (offer == Offer::contained) {
    ++duplicates_;
    return settle(state, session, header, FrameType::push_ack, PushStatus::duplicate);
  }
  if (offer == Offer::overlapping) return acknowledge_partial(session, header, state);
  if (parts_.push.identity() && header.payload_bytes != state.chunk->bytes()) {
    fail(Fault::network, "push of chunk {}: found {} bytes, expected {}", header.chunk,
         header.payload_bytes, state.chunk->bytes());
  }
  // Lent values that are read where they lie are acknowledged when they have been used.
  const bool lent = payload && payload.lent() && parts_.push.identity();
  if (lent) loans_.use(payload);
  // Before the answer: the last push of a step is acknowledged when it is applied.
  contribute(state, header, std::move(payload));
  if (!lent) settle(state, session, header, FrameType::push_ack);
}

void Shard::contribute(ChunkState& state, const Header& header, Buffer payload) {
  if (!drops_) {
    add(state, header, std::move(payload));
    return covered(state, header.partitions, header.step);
  }
  if (!parts_.push.identity()) {
    Buffer values = pool_.take();
    std::ranges::fill(values.floats(state.chunk->size), 0.0F);
    decode_add(header, payload, values.floats(state.chunk->size));
    payload = std::move(values);
  }
  hold(state, header.partitions.first, header.step, header.value, std::move(payload));
}

void Shard::covered(ChunkState& state, PartitionRange node, Step step) {
  state.clocks.advance(node);
  output_.note({TraceEvent::Kind::push, state.id, node, step, 0});
  advance(state, node.first);
}

void Shard::hold(ChunkState& state, std::uint32_t partition, Step step, std::uint64_t examples,
                 Buffer values) {
  state.clocks.advance({partition, 1});
  state.held.push_back({partition, examples, std::move(values)});
  if (admission_.on_push(step, partition, examples)) say_here(step, partition);
}

void Shard::on_end(SessionId session, const Header& header) {
  if (!tree_.is_node(header.partitions)) {
    fail(Fault::network, "end for partitions {}..{}, which is no node of the tree over {}",
         header.partitions.first, header.partitions.end(), parts_.partitions);
  }
  if (header.value != 0) return acknowledge(session, header, FrameType::end_ack);
  // Nothing was pushed for these partitions: they are covered without a contribution.
  for (ChunkState& state : states_) {
    if (!follows(state, header.partitions, header.step)) {
      fail(Fault::network, "end of step {}, but chunk {} is at step {}", header.step, state.id,
           step_of(state));
    }
    for (std::uint32_t p = header.partitions.first; p < header.partitions.end(); ++p) {
      if (drops_ && is_late(state, {p, 1}, header.step)) continue;
      if (state.clocks.has(p, header.step)) continue;
      if (drops_) {
        hold(state, p, header.step, 0, {});
      } else {
        state.aggregator.add({p, 1}, 0, {});
        covered(state, {p, 1}, header.step);
      }
    }
  }
  acknowledge_end(session, header);
}

void Shard::on_pull(SessionId session, const Header& header) {
  ChunkState& state = state_of(header);
  const ParkedPull pull{session, header.step, header.partitions, header.value};
  if (pull.partitions.first > parts_.partitions ||
      pull.partitions.count > parts_.partitions - pull.partitions.first) {
    fail(Fault::network, "pull for partitions {}..{} of {}", pull.partitions.first,
         std::uint64_t{pull.partitions.first} + pull.partitions.count, parts_.partitions);
  }
  if (answer(state, pull)) return;
  // A session waits for one version of a chunk: a later pull takes the place of those before.
  const auto before = std::ranges::find(state.parked, session, &ParkedPull::session);
  if (before != state.parked.end()) {
    if (pull.clock >= before->clock) *before = pull;
    return;
  }
  // One for each worker, and one of the connection before, if that is only about to be closed.
  const std::size_t most = 2 * std::size_t{parts_.partitions};
  if (state.parked.size() >= most) {
    fail(Fault::network, "pull of chunk {} at clock {}: {} pulls wait already, expected at most {}",
         header.chunk, header.step, state.parked.size(), most);
  }
  state.parked.push_back(pull);
}

bool Shard::follows(const ChunkState& state, PartitionRange partitions, Step step) const {
  if (!state.initialised()) return false;
  if (synchronous_) return step <= state.newest;
  return state.clocks.offer(partitions, step) != PartitionClocks::Offer::ahead;
}

void Shard::add(ChunkState& state, const Header& header, Buffer payload) {
  if (parts_.push.identity()) {  // what was received or lent is the contribution
    return state.aggregator.add(header.partitions, header.value, std::move(payload));
  }
  state.aggregator.add_encoded(header.partitions, header.value,
                               [&](std::span<float> sum) { decode_add(header, payload, sum); });
}

void Shard::decode_add(const Header& header, const Buffer& payload, std::span<float> sum) const {
  std::span<const std::byte> encoded;  // an empty payload has no buffer
  if (payload) encoded = payload.bytes().first(header.payload_bytes);
  try {
    parts_.push.decode_add(encoded,
                           {parts_.seed, header.step, header.partitions.first, header.chunk}, sum);
  } catch (const Error& error) {
    fail(error.fault(), "push of step {}, chunk {}: {}", header.step, header.chunk,
         error.message());
  }
}

// ---- what they are told -------------------------------------------------------------------------

void Shard::acknowledge(SessionId session, const Header& header, FrameType type,
                        PushStatus status) {
  OutFrame frame;
  frame.header = header;
  frame.header.type = type;
  frame.header.status = static_cast<std::uint8_t>(status);
  frame.header.value = static_cast<std::uint64_t>(survives());
  frame.header.payload_bytes = 0;
  frame.header.payload_crc = 0;
  output_.reply(session, std::move(frame));
}

// Lent pushes whose values have been used.
void Shard::acknowledge_returned() {
  for (Loans::Loan loan; loans_.next_returned(loan);) {
    settle(state_of(loan.header), loan.session, loan.header, FrameType::push_ack);
  }
}

void Shard::acknowledge_partial(SessionId session, const Header& header, const ChunkState& state) {
  OutFrame frame;
  frame.header = header;
  frame.header.type = FrameType::push_ack;
  frame.header.status = static_cast<std::uint8_t>(PushStatus::partial);
  frame.header.payload_bytes = (header.partitions.count + 7) / 8;
  frame.hold = pool_.take();
  const auto bits = frame.hold.bytes().first(frame.header.payload_bytes);
  std::ranges::fill(bits, std::byte{0});
  for (std::uint32_t i = 0; i < header.partitions.count; ++i) {
    if (state.clocks.has(header.partitions.first + i, header.step)) continue;
    bits[i / 8] |= std::byte{1} << (i % 8);
  }
  frame.payload = bits;
  output_.reply(session, std::move(frame));
}

}  // namespace sheaf::server
