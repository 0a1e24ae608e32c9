#include "server/shard/shard.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/base/error.h"
#include "common/math/kernels.h"
#include "common/wire/checksum.h"
#include "server/chunk/blocks.h"
#include "server/replica/replica.h"

namespace sheaf::server {

using compression::kEveryPartition;
using wire::FrameType;
using wire::Header;
using wire::OutFrame;

namespace {

// Every buffer holds a chunk as floats, or as either compressor may encode it, or a partition set.
std::size_t buffer_bytes(const ShardParts& parts) {
  const std::size_t largest = parts.chunks.largest();
  return std::max({parts.replicated ? sum_bytes(largest) : largest * sizeof(float),
                   parts.push.max_bytes(largest), parts.pull.max_bytes(largest),
                   std::size_t{parts.partitions} / 8 + 1});
}

// Per chunk: two versions (with their encodings and views), the unfinished pairs of the tree, and
// replies that still send the version before, of a version each where readers are overtaken; where
// every push makes a version, no pairs; where steps go without some, their pushes are held one by
// one. Sums that a backup has still to be sent. Per connection one payload; one version being
// written.
std::size_t buffer_limit(const ShardParts& parts) {
  const std::size_t chunks = parts.shards.chunks_of(parts.lane).size();
  const bool alike = parts.gate.exact() && !parts.gate.overtakes();
  const std::size_t versions = (2 + (alike ? 1 : parts.connections)) *
                               (parts.pull.identity() ? 1 : 2 + (parts.pull_feedback ? 1 : 0));
  const std::size_t pairs = parts.gate.exact()         ? Aggregator::most_buffers(parts.partitions)
                            : parts.gate.synchronous() ? parts.partitions + 1
                                                       : 0;
  const std::size_t sums = parts.replicated ? Replication::kMostSums : 0;
  return chunks * (versions + pairs + sums) + 2 * parts.connections + 3;
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
  check((parts.gate.exact() && !parts.gate.overtakes()) || parts.shared[0].empty(),
        "shared parameters need exact steps that nobody overtakes");
  check(parts.mechanism == nullptr ||
            (parts.gate.exact() && !local_ && !needs_scalars() && parts.push.identity()),
        "noise is added to sums of all partitions, that nobody has looked at before");
  if (parts.mechanism != nullptr) noised_ = AlignedBuffer<float>(parts.chunks.largest());
  check(!(parts.snapshot || parts.replicated) || !drops_,
        "what is to outlive us is of all partitions");
  check(!parts.pull_feedback || (parts.gate.exact() && parts.shared[0].empty()),
        "differences are between versions that all workers read, as they are sent");
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
  begin_replication();
  if (parts_.snapshot) adopt();
}

// ---- frames and what else happens
// ----------------------------------------------------------------

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

std::size_t Shard::elements(const Header& header) const {
  return const_cast<Shard*>(this)->state_of(header).chunk->size;  // validates; changes nothing
}

std::size_t Shard::payload_limit(const Header& header) const {
  switch (header.type) {
    case FrameType::push: return parts_.push.max_bytes(elements(header));
    case FrameType::init: return elements(header) * sizeof(float);
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

void Shard::on_closed(SessionId session) {
  loans_.forget(session);
  std::erase_if(ends_, [&](const Owed& owed) { return owed.session == session; });
  for (ChunkState& state : states_) {
    std::erase_if(state.owed, [&](const Owed& owed) { return owed.session == session; });
    std::erase_if(state.parked, [&](const ParkedPull& pull) { return pull.session == session; });
  }
}

// ---- from sums to the next version
// ---------------------------------------------------------------

Step Shard::step_of(const ChunkState& state) const {
  return synchronous_ ? state.newest : state.clocks.slowest();
}

bool Shard::complete(const ChunkState& state) const {
  const Arrivals arrivals = state.aggregator.arrivals();
  if (drops_) return arrivals.covered == arrivals.partitions;  // see add_admitted()
  return parts_.gate.may_apply(arrivals);
}

double Shard::rate(const ChunkState& state, std::uint32_t partition) const {
  if (synchronous_) return parts_.schedule.rate(state.newest);
  const Step step = state.clocks.slowest({partition, 1}) - 1;
  return parts_.schedule.rate(step) * parts_.gate.rate_scale(state.newest - state.read[partition]);
}

// Of the whole chunk at once, since the noise is named by all that it hides.
std::span<const float> Shard::noised_sum(const ChunkState& state) {
  if (parts_.mechanism == nullptr || state.aggregator.examples() == 0) return {};
  const std::span<float> values = noised_.first(state.chunk->size);
  for (std::size_t at = 0; at < values.size(); at += kBlock) {
    const std::size_t count = std::min(kBlock, values.size() - at);
    std::ranges::copy(state.aggregator.sum(at, count, scratch_.span()),
                      values.subspan(at, count).begin());
  }
  const wire::Digest digest = parts_.mechanism->perturb(values, {state.newest, 0, state.id});
  output_.released(state.newest, digest);
  return values;
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
  const std::span<const float> noised = noised_sum(state);
  optimization::OptimizerStep request;
  request.step = step;
  request.rate = rate(state, partition);
  request.streamed = streams_;
  request.gradient_scale = scale.value_or(0) / static_cast<double>(examples);
  const bool changes = examples != 0 && scale.has_value();
  Buffer for_backup;
  if (changes && replication_ && replication_->wants_sum(index_of(state))) {
    for_backup = pool_.take();
  }
  each_block(*state.chunk, [&](const params::GroupRange& range, std::size_t at, std::size_t count) {
    request.group = group_of(parts_.layout, range, local_);
    const auto state_of_block = new_state.subspan(at * runs, count * runs);
    if (parts_.snapshot) {  // it is still in the cache for the step
      std::ranges::copy(old_state.subspan(at * runs, count * runs), state_of_block.begin());
    }
    if (!changes) {  // the next version is the same values
      std::ranges::copy(in.subspan(at, count), out.subspan(at, count).begin());
      return;
    }
    const std::span<const float> gradient = noised.empty()
                                                ? state.aggregator.sum(at, count, scratch_.span())
                                                : noised.subspan(at, count);
    if (for_backup) {
      std::ranges::copy(gradient, for_backup.floats(state.chunk->size).subspan(at).begin());
    }
    const bool finite = optimization::take_step(parts_.optimizer, request, in.subspan(at, count),
                                                gradient, state_of_block, out.subspan(at, count));
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
  follow(state);
  commit(state);
  if (replication_) {
    replication_->step(index_of(state),
                       {.before = step,
                        .partition = synchronous_ ? std::nullopt : std::optional(partition),
                        .rate = request.rate,
                        .gradient_scale = request.gradient_scale,
                        .scalar = scalar_of(state.newest)},
                       std::move(for_backup));
    output_.backup_waits();
  }
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
  slot.view = {};
  slot.view_hold = {};
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
  // Nobody begins with first values that the backup lacks: who goes on with its replica would not
  // have the chunk that steps are pushed of.
  if (state.newest == 0 && replication_ && !replication_->knows(index_of(state))) return false;
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
  frame.header.status = static_cast<std::uint8_t>(
      version < state.newest ? wire::PullStatus::superseded : wire::PullStatus::whole);
  const auto payload = output_.payload_for(pull.session);
  if (payload == ShardOutput::Payload::floats) {
    frame.payload = std::as_bytes(slot.values);
  } else if (payload == ShardOutput::Payload::encoded && parts_.pull_feedback) {
    answer_from_view(state, pull, slot, frame);
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

// ---- memory -------------------------------------------------------------------------------------

std::size_t Shard::clock_bytes() const {
  const std::size_t each = sizeof(Step) + (synchronous_ ? 0 : sizeof(Version));
  return states_.size() * parts_.partitions * each;
}

std::size_t Shard::memory_bound() const {
  std::size_t bytes = buffer_limit(parts_) * buffer_bytes(parts_) + clock_bytes();
  if (replication_) bytes += replication_->memory_bound();
  for (const ChunkState& state : states_) bytes += state.optimizer_state.size() * sizeof(float);
  if (parts_.snapshot) bytes += Snapshot::bytes(snapshot_shape(parts_));
  return bytes;
}

std::size_t Shard::memory_used() const {
  std::size_t bytes = pool_.allocated() * pool_.buffer_bytes() + clock_bytes();
  for (const ChunkState& state : states_) bytes += state.optimizer_state.size() * sizeof(float);
  if (parts_.snapshot) bytes += Snapshot::bytes(snapshot_shape(parts_));
  return bytes;
}

}  // namespace sheaf::server
