#include "server/shard/shard.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/base/error.h"
#include "common/math/kernels.h"
#include "common/wire/checksum.h"
#include "server/shard/blocks.h"

namespace sheaf::server {

using compression::kEveryPartition;
using wire::FrameType;
using wire::Header;
using wire::OutFrame;
using wire::PushStatus;

namespace {

// Every buffer holds a chunk as floats, or as either compressor may encode it, or a partition set.
std::size_t buffer_bytes(const ShardParts& parts) {
  const std::size_t largest = parts.chunks.largest();
  return std::max({largest * sizeof(float), parts.push.max_bytes(largest),
                   parts.pull.max_bytes(largest), std::size_t{parts.partitions} / 8 + 1});
}

// Per chunk: two versions (and their encodings), the unfinished pairs of the tree, and replies that
// still send the version before; where every push makes a version, no pairs, and replies of a
// version each, as where steps go without some, whose pushes are held one by one. Per connection
// one payload; one version being written.
std::size_t buffer_limit(const ShardParts& parts) {
  const std::size_t chunks = parts.shards.chunks_of(parts.lane).size();
  const std::size_t versions =
      (2 + (parts.gate.exact() ? 1 : parts.connections)) * (parts.pull.identity() ? 1 : 2);
  const std::size_t pairs = parts.gate.exact()         ? Aggregator::most_buffers(parts.partitions)
                            : parts.gate.synchronous() ? parts.partitions + 1
                                                       : 0;
  return chunks * (versions + pairs) + 2 * parts.connections + 3;
}

// Whether a step drives the beginning of a version out of the last cache before a worker reads it
// there. What goes over the wire is read at once. Some processors state the cache of all their
// cores, of which one core fills only the part next to it: hence the limit.
bool outgrows_cache(const ShardParts& parts) {
  constexpr long kUsual = 32L << 20, kMost = 64L << 20;
  const long known = ::sysconf(_SC_LEVEL3_CACHE_SIZE);
  const auto cache = static_cast<std::size_t>(known > 0 ? std::min(known, kMost) : kUsual);
  const std::size_t vectors = 3 + parts.optimizer.state_per_parameter();  // gradient, old, new
  return vectors * parts.shared[0].size_bytes() > cache;
}

// The names of the tensors that have a part of a chunk.
std::vector<std::string> tensors_of(const params::Layout& layout, const params::Chunk& chunk) {
  std::vector<std::string> names;
  for (const params::Tensor& tensor : layout.tensors()) {
    if (tensor.offset < chunk.end() && chunk.offset < tensor.offset + tensor.size) {
      names.push_back(tensor.name);
    }
  }
  return names;
}

}  // namespace

Shard::Shard(const ShardParts& parts, ShardOutput& output)
    : parts_(parts),
      output_(output),
      tree_(parts.partitions),
      pool_(buffer_bytes(parts), buffer_limit(parts)),
      scratch_(kBlock),
      synchronous_(parts.gate.synchronous()),
      drops_(parts.gate.backup() != 0),
      local_(parts.gate.local_steps() != 0),
      streams_(outgrows_cache(parts)),
      place_(parts.chunks.size(), -1),
      scalars_(parts.chunks.size()),
      admission_({.partitions = parts.partitions,
                  .chunks = parts.shards.chunks_of(parts.lane).size(),
                  .lanes = parts.shards.busy_lanes(),
                  .all_lanes = parts.shards.lane_count()}) {
  check(synchronous_ || !needs_scalars(), "step scalars need steps of many partitions together");
  check(parts.gate.exact() || parts.shared[0].empty(), "shared parameters need exact steps");
  check(!parts.snapshot || (!drops_ && !needs_scalars()),
        "with a snapshot a step is of all partitions, and needs nothing but its own chunk");
  const std::size_t per_parameter = parts.snapshot ? 0 : parts.optimizer.state_per_parameter();
  for (const std::uint32_t id : parts.shards.chunks_of(parts.lane)) {
    const params::Chunk& chunk = parts.chunks[id];
    place_[id] = static_cast<std::int32_t>(states_.size());
    states_.push_back({id,
                       &chunk,
                       0,
                       {},
                       AlignedBuffer<float>(chunk.size * per_parameter),
                       Aggregator(parts.partitions, chunk.size, pool_),
                       PartitionClocks(parts.partitions),
                       {}});
    states_.back().parked.reserve(parts.partitions);
    if (!synchronous_) states_.back().read.resize(parts.partitions);
  }
  if (parts_.snapshot) adopt();
}

// ---- frames in ----------------------------------------------------------------------------------

Shard::ChunkState& Shard::state_of(const Header& header) {
  if (header.table != kVectorTable) {
    fail(Fault::network, "{} for table {}, expected table 0: this job has no tables",
         to_string(header.type), header.table);
  }
  if (header.round != 0) {
    fail(Fault::network, "{} for round {}, expected round 0", to_string(header.type), header.round);
  }
  if (header.chunk >= place_.size() || place_[header.chunk] < 0) {
    fail(Fault::network, "{} for chunk {}, which server {} lane {} does not hold",
         to_string(header.type), header.chunk, parts_.lane.server, parts_.lane.lane);
  }
  return states_[static_cast<std::size_t>(place_[header.chunk])];
}

std::size_t Shard::payload_limit(const Header& header) const {
  const auto elements = [&] {
    return const_cast<Shard*>(this)->state_of(header).chunk->size;  // validates; changes nothing
  };
  switch (header.type) {
    case FrameType::push: return parts_.push.max_bytes(elements());
    case FrameType::init: return elements() * sizeof(float);
    case FrameType::pull:
    case FrameType::end: return 0;
    default: fail(Fault::network, "{} is no frame for a server", to_string(header.type));
  }
}

void Shard::on_frame(SessionId session, const Header& header, Buffer payload) {
  switch (header.type) {
    case FrameType::push: on_push(session, header, std::move(payload)); break;
    case FrameType::pull: on_pull(session, header); break;
    case FrameType::end: on_end(session, header); break;
    case FrameType::init: on_init(session, header, std::move(payload)); break;
    default: fail(Fault::network, "{} is no frame for a server", to_string(header.type));
  }
  acknowledge_returned();
}

void Shard::on_init(SessionId session, const Header& header, Buffer payload) {
  ChunkState& state = state_of(header);
  if (header.payload_bytes != state.chunk->bytes()) {
    fail(Fault::network, "init of chunk {}: found {} bytes, expected {}", header.chunk,
         header.payload_bytes, state.chunk->bytes());
  }
  if (!state.initialised()) {
    std::ranges::copy(payload.floats(state.chunk->size), room(state, 0).begin());
    commit(state);
    checkpoint(state);
  }
  acknowledge(session, header, FrameType::init_ack);
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
    if (committed(state, header.step)) {
      return acknowledge(session, header, FrameType::push_ack, PushStatus::duplicate);
    }
    return state.owed.push_back({session, header, FrameType::push_ack, PushStatus::duplicate});
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
  if (lent) return;
  if (committed(state, header.step)) return acknowledge(session, header, FrameType::push_ack);
  state.owed.push_back({session, header, FrameType::push_ack});
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
  const ParkedPull pull{session, header.step, header.partitions};
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

void Shard::on_scalar(Step step, std::uint32_t chunk, double value) {
  if (drops_ && chunk >= place_.size()) {
    on_admission(step, chunk - static_cast<std::uint32_t>(place_.size()), value);
    return acknowledge_returned();
  }
  if (chunk >= place_.size()) {
    fail(Fault::network, "scalar of chunk {}, expected 0..{}", chunk, place_.size() - 1);
  }
  scalars_.add(step, chunk, value);
  if (!scalars_.total(step)) return;
  for (ChunkState& state : states_) {
    if (state.newest == step) advance(state);
  }
  acknowledge_returned();
}

void Shard::on_closed(SessionId session) {
  loans_.forget(session);
  std::erase_if(ends_, [&](const Owed& owed) { return owed.session == session; });
  for (ChunkState& state : states_) {
    std::erase_if(state.owed, [&](const Owed& owed) { return owed.session == session; });
    std::erase_if(state.parked, [&](const ParkedPull& pull) { return pull.session == session; });
  }
}

// ---- from arrivals to the next version ----------------------------------------------------------

Step Shard::step_of(const ChunkState& state) const {
  return synchronous_ ? state.newest : state.clocks.slowest();
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

bool Shard::complete(const ChunkState& state) const {
  const Arrivals arrivals = state.aggregator.arrivals();
  if (drops_) return arrivals.covered == arrivals.partitions;  // see add_admitted()
  return parts_.gate.may_apply(arrivals);
}

void Shard::advance(ChunkState& state, std::uint32_t partition) {
  if (!complete(state)) return;
  if (!needs_scalars()) return apply(state, partition, 1);

  if (const auto total = scalars_.total(state.newest)) {
    return apply(state, partition, clip_scale(*total, state.aggregator.examples()));
  }
  // Aggregated, but the norm also needs what other lanes hold: share ours and come back with
  // theirs.
  double squares = 0;
  for (std::size_t at = 0; at < state.chunk->size; at += kBlock) {
    const std::size_t count = std::min(kBlock, state.chunk->size - at);
    squares += math::sum_squares(state.aggregator.sum(at, count, scratch_.span()));
  }
  output_.share_scalar(state.newest, state.id, squares);
  on_scalar(state.newest, state.id, squares);
}

// Squares of floats do not overflow in doubles: their sum is finite if and only if the gradient is.
std::optional<double> Shard::clip_scale(double squares, std::uint64_t examples) const {
  if (!std::isfinite(squares)) {
    return parts_.skip_non_finite ? std::nullopt : std::optional(1.0);  // apply() says what is bad
  }
  const double norm = std::sqrt(squares) / static_cast<double>(examples);
  return parts_.clip_norm != 0 && norm > parts_.clip_norm ? parts_.clip_norm / norm : 1;
}

double Shard::rate(const ChunkState& state, std::uint32_t partition) const {
  if (synchronous_) return parts_.schedule.rate(state.newest);
  const Step step = state.clocks.slowest({partition, 1}) - 1;
  return parts_.schedule.rate(step) * parts_.gate.rate_scale(state.newest - state.read[partition]);
}

void Shard::apply(ChunkState& state, std::uint32_t partition, std::optional<double> scale) {
  if (synchronous_ && !checkpoint(state)) return;  // on_room() comes back
  const Step step = state.newest;
  const std::span<const float> in = state.published[step % 2].values;
  const std::span<float> out = room(state, step + 1);
  const std::span<const float> old_state = optimizer_state(state, step);
  const std::span<float> new_state = optimizer_state(state, step + 1);
  const std::size_t runs = parts_.optimizer.state_per_parameter();
  const std::uint64_t examples = state.aggregator.examples();
  optimization::OptimizerStep request;
  request.step = step;
  request.rate = rate(state, partition);
  request.streamed = streams_;
  request.gradient_scale = scale.value_or(0) / static_cast<double>(examples);
  each_block(*state.chunk, [&](const params::GroupRange& range, std::size_t at, std::size_t count) {
    request.group = parts_.layout.groups()[range.group];
    // Of local steps the group's rate is in the way that they went; frozen stays frozen.
    if (local_ && request.group.rate_scale != 0) request.group.rate_scale = 1;
    const auto state_of_block = new_state.subspan(at * runs, count * runs);
    if (parts_.snapshot) {  // it is still in the cache for the step
      std::ranges::copy(old_state.subspan(at * runs, count * runs), state_of_block.begin());
    }
    if (examples == 0 || !scale) {  // the next version is the same values
      std::ranges::copy(in.subspan(at, count), out.subspan(at, count).begin());
      return;
    }
    const bool finite = parts_.optimizer.step(request, in.subspan(at, count),
                                              state.aggregator.sum(at, count, scratch_.span()),
                                              state_of_block, out.subspan(at, count));
    if (!finite) {  // version `step` stays as it is
      fail(Fault::diverged,
           "step {}: the {} parameters {}..{} is not finite ({}); lower the rate{}",
           synchronous_ ? step : state.clocks.slowest({partition, 1}) - 1,
           synchronous_ ? std::string("gradient of")
                        : fmt::format("gradient of partition {} of", partition),
           state.chunk->offset, state.chunk->end(),
           fmt::join(tensors_of(parts_.layout, *state.chunk), ", "),
           synchronous_ ? ", warm up, or set optimizer.clip_norm" : " or warm up");
    }
  });
  const bool rejected = synchronous_ && examples == 0;  // every partition with examples was
  if (scale && !rejected) {
    state.skipped = 0;
  } else {
    note_skipped(state, !scale);
  }
  state.newest = step + 1;
  state.held.clear();
  commit(state);
  state.aggregator.reset();  // gives back what was lent, which acknowledge_returned() answers
  acknowledge_owed(state);
  answer_parked(state);
  // While it is warm. What finds no room is asked again before the chunk goes on.
  if (owes_checkpoint(state) && checkpoint(state)) answer_parked(state);
}

void Shard::note_skipped(ChunkState& state, bool say) {
  constexpr std::uint32_t kMost = 100;  // more are no accident
  if (say && state.id == 0) output_.skipped(state.newest);
  if (++state.skipped < kMost) return;
  fail(Fault::diverged,
       "step {} is the {}th in a row whose gradient is not finite: nothing is learnt any more; "
       "lower the rate, warm up, or set optimizer.clip_norm",
       state.newest, kMost);
}

// ---- versions out -------------------------------------------------------------------------------

std::span<float> Shard::room(ChunkState& state, Version version) {
  Published& slot = state.published[version % 2];
  slot.encoded = {};
  slot.values = place_of(state, version);
  if (slot.values.empty()) {
    slot.hold = pool_.take();
    slot.values = slot.hold.floats(state.chunk->size);
  }
  if (parts_.snapshot) parts_.snapshot.open(index_of(state), version);
  return slot.values;
}

std::span<float> Shard::place_of(const ChunkState& state, Version version) const {
  const std::span<float> shared = parts_.shared[version % 2];
  if (!shared.empty()) return shared.subspan(state.chunk->offset, state.chunk->size);
  if (parts_.snapshot) return parts_.snapshot.parameters(index_of(state), version);
  return {};
}

// Once per version, when it is first asked for: usually at once, while it is warm.
void Shard::encode(const ChunkState& state, Version version, Published& slot) {
  const auto raw = std::as_bytes(slot.values);
  if (!parts_.pull.identity()) {
    slot.encoded = pool_.take();
    slot.bytes = static_cast<std::uint32_t>(parts_.pull.encode(
        slot.values, {parts_.seed, version, kEveryPartition, state.id}, slot.encoded.bytes()));
  } else if (slot.hold) {
    slot.encoded = slot.hold;
    slot.bytes = static_cast<std::uint32_t>(raw.size());
  } else {
    slot.encoded = pool_.take();
    slot.bytes = static_cast<std::uint32_t>(raw.size());
    std::ranges::copy(raw, slot.encoded.bytes().begin());
  }
  slot.crc = wire::crc32c(slot.encoded.bytes().first(slot.bytes));
}

bool Shard::answer(ChunkState& state, const ParkedPull& pull) {
  if (!state.initialised() || waits_for_checkpoint(state, pull.clock)) return false;
  Version oldest = state.newest;  // of the two that are held, or the one that was restored
  if (oldest != 0 && !state.published[(oldest - 1) % 2].values.empty()) --oldest;
  const auto [when, version] = parts_.gate.answer(
      pull.clock,
      {oldest, state.newest, state.clocks.slowest(), state.clocks.slowest(pull.partitions)});
  if (when != PullAnswer::When::now) return when == PullAnswer::When::never;
  output_.note({TraceEvent::Kind::pull, state.id, pull.partitions, pull.clock, version});
  state.pulled = std::max(state.pulled, pull.clock + 1);
  if (!synchronous_) {
    for (std::uint32_t i = 0; i < pull.partitions.count; ++i) {
      state.read[pull.partitions.first + i] = version;
    }
  }
  Published& slot = state.published[version % 2];
  OutFrame frame;
  frame.header.type = FrameType::pull_reply;
  frame.header.chunk = state.id;
  frame.header.step = pull.clock;
  frame.header.partitions = pull.partitions;
  frame.header.value = version;
  const auto payload = output_.payload_for(pull.session);
  if (payload == ShardOutput::Payload::floats) {
    frame.payload = std::as_bytes(slot.values);
  } else if (payload == ShardOutput::Payload::encoded) {
    if (!slot.encoded) encode(state, version, slot);
    frame.header.payload_bytes = slot.bytes;
    frame.header.payload_crc = slot.crc;
    frame.crc_known = true;
    frame.payload = slot.encoded.bytes().first(slot.bytes);
    frame.hold = slot.encoded;
  }
  output_.reply(pull.session, std::move(frame));
  return true;
}

void Shard::answer_parked(ChunkState& state) {
  std::erase_if(state.parked, [&](const ParkedPull& pull) { return answer(state, pull); });
}

void Shard::acknowledge(SessionId session, const Header& header, FrameType type,
                        PushStatus status) {
  OutFrame frame;
  frame.header = header;
  frame.header.type = type;
  frame.header.status = static_cast<std::uint8_t>(status);
  frame.header.payload_bytes = 0;
  frame.header.payload_crc = 0;
  output_.reply(session, std::move(frame));
}

// Lent pushes whose values have been used.
void Shard::acknowledge_returned() {
  for (Loans::Loan loan; loans_.next_returned(loan);) {
    ChunkState& state = state_of(loan.header);
    if (committed(state, loan.header.step)) {
      acknowledge(loan.session, loan.header, FrameType::push_ack);
    } else {  // it has been read, into a sum that would be lost with us
      state.owed.push_back({loan.session, loan.header, FrameType::push_ack});
    }
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

// ---- memory -------------------------------------------------------------------------------------

std::size_t Shard::clock_bytes() const {
  const std::size_t each = sizeof(Step) + (synchronous_ ? 0 : sizeof(Version));
  return states_.size() * parts_.partitions * each;
}

std::size_t Shard::memory_bound() const {
  std::size_t bytes = buffer_limit(parts_) * buffer_bytes(parts_) + clock_bytes();
  for (const ChunkState& state : states_) bytes += state.optimizer_state.size() * sizeof(float);
  return bytes;
}

std::size_t Shard::memory_used() const {
  std::size_t bytes = pool_.allocated() * pool_.buffer_bytes() + clock_bytes();
  for (const ChunkState& state : states_) bytes += state.optimizer_state.size() * sizeof(float);
  if (parts_.snapshot) bytes += Snapshot::bytes(snapshot_shape(parts_));
  return bytes;
}

}  // namespace sheaf::server
