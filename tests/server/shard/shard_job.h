// A small job seen from its shards, for tests: layout, chunks, a gate, an optimizer that notes what
// it was asked, and an output that keeps what the shard says. Gradients are plain descent with rate
// 1, so that a test can work out every version by hand.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/config/section.h"
#include "common/optimization/from_differences.h"
#include "common/wire/checksum.h"
#include "server/replica/replica.h"
#include "server/shard/shard.h"

namespace sheaf::server {

// out = in - rate * rate_scale * (gradient_scale * gradient), in floats.
class Descent final : public optimization::Optimizer {
 public:
  struct Call {
    optimization::OptimizerStep step;
    std::size_t size;
  };
  std::size_t state_per_parameter() const override { return 1; }
  bool step(const optimization::OptimizerStep& step, std::span<const float> in,
            std::span<const float> gradient, std::span<float> state,
            std::span<float> out) const override {
    calls.push_back({step, in.size()});
    if (dies_at == calls.size()) throw Died();
    const auto scale = static_cast<float>(step.gradient_scale);
    const auto rate = static_cast<float>(step.rate) * step.group.rate_scale;
    for (std::size_t i = 0; i < in.size(); ++i) {
      state[i] += 1;  // counts the steps
      out[i] = in[i] - rate * (scale * gradient[i]);
    }
    return std::ranges::all_of(gradient, [](float g) { return std::isfinite(g); });
  }
  mutable std::vector<Call> calls;
  // As if the process were killed within this call, the first being 1; 0: it is not.
  struct Died {};
  std::size_t dies_at = 0;
};

// Keeps the upper 16 bits of each float (bfloat16, truncated): lossy, and easy to work out.
class UpperHalves final : public compression::Compressor {
 public:
  compression::Promises promises(std::size_t) const override { return {.every_value = true}; }
  std::size_t max_bytes(std::size_t elements) const override { return 2 * elements; }
  std::size_t encode(std::span<const float> values, const compression::EncodingKey&,
                     std::span<std::byte> bytes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto* upper = reinterpret_cast<const std::byte*>(&values[i]) + 2;
      std::memcpy(bytes.data() + 2 * i, upper, 2);
    }
    return 2 * values.size();
  }
  void decode_add(std::span<const std::byte> bytes, const compression::EncodingKey&,
                  std::span<float> sum) const override {
    if (bytes.size() != 2 * sum.size()) {
      fail(Fault::network, "upper halves: found {} bytes, expected {}", bytes.size(),
           2 * sum.size());
    }
    for (std::size_t i = 0; i < sum.size(); ++i) {
      float value = 0;
      std::memcpy(reinterpret_cast<std::byte*>(&value) + 2, bytes.data() + 2 * i, 2);
      sum[i] += value;
    }
  }
};

inline std::unique_ptr<compression::Compressor> no_compressor() {
  const auto document = config::Document::from_text("", "job.toml");
  return find_mode(compression::compressors(), "none")->make(document->root());
}

// `keys` as they stand in [consistency].
inline std::unique_ptr<Gate> make_gate(std::string_view name, std::string_view keys = "") {
  const auto document = config::Document::from_text(keys, "job.toml");
  return find_mode(gates(), name)->make(document->root());
}
inline std::unique_ptr<Gate> bsp_gate() { return make_gate("bsp"); }

struct ShardJobOptions {
  std::vector<std::uint32_t> tensors = {16, 16, 16};  // sizes; each becomes one chunk
  std::uint32_t partitions = 4;
  std::uint32_t connections = 2;
  std::uint32_t servers = 1;
  std::uint32_t lanes = 1;
  std::string gate = "bsp";
  std::string gate_keys = "";
  const privacy::Mechanism* mechanism = nullptr;
  double clip_norm = 0;
  bool skip_non_finite = false;
  bool lossy_push = false;
  bool lossy_pull = false;
  bool pull_feedback = false;
  std::uint64_t differences_of = 0;  // pushes are what is new in gradients of so many examples
  bool snapshot = false;             // is kept
  bool replica = false;              // is kept by another server
  bool restores_rest = false;
};

// What a shard has said, decoded as a worker would.
struct Reply {
  SessionId session;
  wire::Header header;
  std::vector<std::byte> payload;
  std::vector<float> floats() const {
    std::vector<float> values(payload.size() / sizeof(float));
    if (!payload.empty()) std::memcpy(values.data(), payload.data(), payload.size());
    return values;
  }
};

class ShardJob {
 public:
  explicit ShardJob(const ShardJobOptions& options)
      : options_(options),
        layout_(make_layout(options)),
        chunks_(layout_, 64),
        shards_(chunks_, options.servers, options.lanes),
        gate_(make_gate(options.gate, options.gate_keys)),
        optimizer_(make_optimizer(options.differences_of)),
        push_(make_compressor(options.lossy_push)),
        pull_(make_compressor(options.lossy_pull)) {
    for (std::uint32_t s = 0; s < options.servers; ++s) {
      for (std::uint32_t l = 0; l < options.lanes; ++l) add_lane({s, l});
    }
  }
  // Frames that were kept lie in buffers of the shards.
  ~ShardJob() { kept.clear(); }
  ShardJob(const ShardJob&) = delete;
  ShardJob& operator=(const ShardJob&) = delete;

  // As if a process, or all, had been killed: all is gone but the snapshots or the replicas, with
  // which another one begins; or a host, and the snapshots with it. Scalars that were on their way
  // to it or from it are lost.
  void replace_server(std::optional<std::uint32_t> server = std::nullopt, bool host = false) {
    replies.clear();
    const bool from_snapshot = options_.snapshot && !host;
    const auto is_lost = [&](std::size_t lane) {
      return !server || lanes_[lane]->lane.server == *server;
    };
    std::erase_if(scalars_, [&](const Scalar& s) { return is_lost(s.to) || is_lost(s.from); });
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      if (!is_lost(i)) continue;
      lanes_[i]->shard.reset();
      open(*lanes_[i], snapshots_[i].bytes, from_snapshot);
      if (options_.replica && !from_snapshot) adopt_replica(*lanes_[i]);
    }
    if (options_.replica && from_snapshot) connect_backup();
    for (const auto& lane : lanes_) lane->shard->share_scalars();
    deliver_scalars();
  }
  // The server that has got the last frame or scalar.
  std::uint32_t last_server() const { return lanes_[last_lane_]->lane.server; }

  // The same of the process that keeps the replicas; and the connections to it are new.
  void replace_backup() {
    for (const auto& lane : lanes_) lane->replica.emplace(replica_parts(*lane), false);
    connect_backup();
  }
  void connect_backup() {
    for (const auto& lane : lanes_) {
      lane->replica->on_connected();
      lane->shard->on_backup();
    }
  }
  // Frames between shard and replica that are moved after each frame of a worker, and how many may
  // be until lost() is called.
  std::size_t pumped = std::numeric_limits<std::size_t>::max();
  std::size_t until_lost = std::numeric_limits<std::size_t>::max();
  std::function<void()> lost;
  // How many were moved: 0, 1.
  std::size_t pump_one() {
    for (const auto& lane : lanes_) {
      std::optional<wire::OutFrame> frame = lane->replica->next_frame();
      const bool answer = frame.has_value();
      if (!frame) frame = lane->shard->next_for_backup();
      if (!frame) continue;
      if (until_lost-- == 0) {
        lost();
        return 1;
      }
      if (answer) {
        lane->shard->on_replicated(frame->header);
      } else {
        give(*lane->replica, *frame);
        lane->shard->on_written_to_backup();
      }
      return 1;
    }
    return 0;
  }

  Shard& shard(std::size_t lane = 0) { return *lanes_[lane]->shard; }
  Shard& holder(std::uint32_t chunk) { return shard(shards_.index(shards_.at(chunk))); }
  std::size_t lane_count() const { return lanes_.size(); }
  const params::ChunkMap& chunks() const { return chunks_; }
  const params::ShardMap& shards() const { return shards_; }
  const params::Layout& layout() const { return layout_; }
  Descent& optimizer() { return *descent_; }

  // ---- frames in, as a session would hand them over
  void init(std::uint32_t chunk, float value = 0) {
    const std::vector<float> values(chunks_[chunk].size, value);
    send(header(wire::FrameType::init, 0, chunk, {}), std::as_bytes(std::span(values)));
  }
  void init_all(float value = 0) {
    for (std::uint32_t c = 0; c < chunks_.size(); ++c) init(c, value);
    replies.clear();
  }
  void push(Step step, std::uint32_t chunk, PartitionRange node, const std::vector<float>& values,
            std::uint64_t examples = 1, SessionId session = 0) {
    wire::Header h = header(wire::FrameType::push, step, chunk, node);
    h.value = examples;
    std::vector<std::byte> bytes(push_->max_bytes(values.size()));
    bytes.resize(push_->encode(values, {}, bytes));
    send(h, bytes, session);
  }
  void push(Step step, std::uint32_t chunk, PartitionRange node, float value,
            std::uint64_t examples = 1, SessionId session = 0) {
    push(step, chunk, node, std::vector<float>(chunks_[chunk].size, value), examples, session);
  }
  void pull(Step clock, std::uint32_t chunk, SessionId session = 0,
            PartitionRange partitions = {0, 1}, Version next = 0) {
    wire::Header h = header(wire::FrameType::pull, clock, chunk, partitions);
    h.value = next;
    send(h, {}, session);
  }
  void end(Step step, PartitionRange node, std::uint64_t examples, std::size_t lane = 0) {
    wire::Header h = header(wire::FrameType::end, step, 0, node);
    h.value = examples;
    deliver(shard(lane), h, {}, 0);
  }
  // Any frame, to the lane that holds its chunk (the first, if there is no such chunk).
  void send(wire::Header h, std::span<const std::byte> payload, SessionId session = 0) {
    deliver(h.chunk < chunks_.size() ? holder(h.chunk) : shard(), h, payload, session);
  }
  static wire::Header header(wire::FrameType type, Step step, std::uint32_t chunk,
                             PartitionRange partitions) {
    wire::Header h;
    h.type = type;
    h.step = step;
    h.chunk = chunk;
    h.partitions = partitions;
    return h;
  }

  // ---- what came out
  std::vector<Reply> replies;
  std::vector<wire::OutFrame> kept;  // frames as a slow connection holds them, if `keep`
  bool keep = false;
  // What was handed over for checkpoints, and for how many more there is room.
  struct Saved {
    Version version;
    std::uint32_t chunk;
    std::vector<float> values;
  };
  std::vector<Saved> saved;
  std::vector<TraceEvent> trace;  // of all lanes
  std::vector<Step> skipped;      // as one of them said
  std::size_t rooms = 100;
  // The parameters of a chunk, pulled.
  std::vector<float> parameters(Step clock, std::uint32_t chunk) {
    replies.clear();
    pull(clock, chunk);
    if (replies.empty()) return {};
    return replies.back().floats();
  }

 private:
  struct LaneOutput final : ShardOutput {
    ShardJob* job = nullptr;
    std::size_t index = 0;
    params::LaneId lane;
    std::unique_ptr<Shard> shard;
    std::optional<Replica> replica;
    void reply(SessionId session, wire::OutFrame frame) override {
      job->on_reply(session, std::move(frame));
    }
    void share_scalar(Step step, std::uint32_t chunk, double value) override {
      job->on_scalar(index, step, chunk, value);
    }
    std::span<float> checkpoint_room(std::size_t floats) override {
      if (job->rooms == 0) return {};
      --job->rooms;
      return job->saved.emplace_back(Saved{0, 0, std::vector<float>(floats)}).values;
    }
    void skipped(Step step) override { job->skipped.push_back(step); }
    void note(const TraceEvent& event) override { job->trace.push_back(event); }
    void checkpoint(Version version, std::uint32_t chunk, std::span<float>) override {
      job->saved.back().version = version;
      job->saved.back().chunk = chunk;
    }
  };

  static params::Layout make_layout(const ShardJobOptions& options) {
    params::Layout layout;
    for (std::size_t i = 0; i < options.tensors.size(); ++i) {
      layout.add("t" + std::to_string(i), {options.tensors[i]}, {});
    }
    return layout;
  }
  static std::unique_ptr<compression::Compressor> make_compressor(bool lossy) {
    if (lossy) return std::make_unique<UpperHalves>();
    return no_compressor();
  }
  std::unique_ptr<optimization::Optimizer> make_optimizer(std::uint64_t differences_of) {
    auto descent = std::make_unique<Descent>();
    descent_ = descent.get();
    if (differences_of == 0) return descent;
    return optimization::from_differences(std::move(descent), differences_of);
  }
  void add_lane(params::LaneId lane) {
    lanes_.push_back(std::make_unique<LaneOutput>());
    LaneOutput& output = *lanes_.back();
    output.job = this;
    output.index = lanes_.size() - 1;
    output.lane = lane;
    open(output, snapshots_.emplace_back().bytes, false);
    if (!options_.replica) return;
    output.replica.emplace(replica_parts(output), true);
    output.shard->on_backup();
  }
  Replica::Parts replica_parts(const LaneOutput& output) const {
    return {.layout = layout_,
            .chunks = chunks_,
            .ids = shards_.chunks_of(output.lane),
            .optimizer = *optimizer_,
            .clocks = gate_->synchronous() ? 0 : options_.partitions,
            .local = false,
            .pull = options_.pull_feedback ? pull_.get() : nullptr,
            .seed = 0};
  }
  // As over the wire.
  static void give(Replica& replica, const wire::OutFrame& frame) {
    const auto into = replica.receive_into(frame.header);
    check(into.size() == frame.payload.size(), "a frame has the size that it says");
    std::ranges::copy(frame.payload, into.begin());
    replica.on_frame(frame.header);
  }
  // Throws Fault::network if the replica is not whole.
  void adopt_replica(LaneOutput& output) {
    Replica& replica = *output.replica;
    replica.on_connected();
    wire::OutFrame word;
    word.header.type = wire::FrameType::replica;
    word.header.status = static_cast<std::uint8_t>(wire::ReplicaWord::give);
    give(replica, word);
    CopyReceiver receiver(replica_parts(output).shape());
    while (const auto frame = replica.next_frame()) {
      if (frame->header.type == wire::FrameType::replica) {
        if (frame->header.status == static_cast<std::uint8_t>(wire::ReplicaWord::whole)) break;
        fail(Fault::network, "the replica is not whole");
      }
      const auto into = receiver.receive_into(frame->header, output.shard->elements(frame->header));
      std::ranges::copy(frame->payload, into.begin());
      if (const auto copy = receiver.on_part(frame->header)) {
        output.shard->adopt(frame->header.chunk, *copy);
      }
    }
    output.shard->on_adopted();
  }
  // A snapshot in `memory`, which is made or begun with.
  void open(LaneOutput& output, AlignedBuffer<std::byte>& memory, bool adopt) {
    ShardParts parts{.layout = layout_,
                     .chunks = chunks_,
                     .shards = shards_,
                     .lane = output.lane,
                     .partitions = options_.partitions,
                     .connections = options_.connections,
                     .gate = *gate_,
                     .optimizer = *optimizer_,
                     .schedule = schedule_,
                     .push = *push_,
                     .pull = *pull_,
                     .mechanism = options_.mechanism,
                     .pull_feedback = options_.pull_feedback,
                     .clip_norm = options_.clip_norm,
                     .skip_non_finite = options_.skip_non_finite};
    if (options_.snapshot) {
      const Snapshot::Shape shape = Shard::snapshot_shape(parts);
      if (!adopt) memory = AlignedBuffer<std::byte>(Snapshot::bytes(shape));
      parts.snapshot =
          adopt ? Snapshot::adopt(memory.span(), shape) : Snapshot::begin(memory.span(), shape);
    }
    parts.replicated = options_.replica;
    parts.restores_rest = options_.restores_rest;
    output.shard = std::make_unique<Shard>(parts, output);
  }
  void deliver(Shard& shard, wire::Header h, std::span<const std::byte> payload,
               SessionId session) {
    h.payload_bytes = static_cast<std::uint32_t>(payload.size());
    const std::size_t limit = shard.payload_limit(h);
    if (payload.size() > limit) fail(Fault::network, "payload above the limit of {}", limit);
    Buffer buffer;
    if (!payload.empty()) {
      buffer = shard.take_buffer();
      std::ranges::copy(payload, buffer.bytes().begin());
    }
    last_lane_ = static_cast<std::size_t>(
        std::ranges::find(lanes_, &shard, [](const auto& l) { return l->shard.get(); }) -
        lanes_.begin());
    shard.on_frame(session, h, std::move(buffer));
    deliver_scalars();
    if (!options_.replica) return;
    for (std::size_t i = 0; i < pumped && pump_one() != 0; ++i) {
    }
  }
  void on_reply(SessionId session, wire::OutFrame frame) {
    Reply reply{session, frame.header, {frame.payload.begin(), frame.payload.end()}};
    if (frame.crc_known) check(frame.header.payload_crc == wire::crc32c(frame.payload), "crc");
    check(frame.header.payload_bytes == frame.payload.size(), "length");
    replies.push_back(std::move(reply));
    if (keep) kept.push_back(std::move(frame));
  }
  // Scalars travel between lanes later, as over the links, never within the call that made them.
  void on_scalar(std::size_t from, Step step, std::uint32_t chunk, double value) {
    for (std::size_t to = 0; to < lanes_.size(); ++to) {
      if (to != from) scalars_.push_back({from, to, step, chunk, value});
    }
  }
  void deliver_scalars() {
    while (!scalars_.empty()) {
      // The newest first: any order will do.
      const auto [from, to, step, chunk, value] = scalars_.back();
      scalars_.pop_back();
      last_lane_ = to;
      lanes_[to]->shard->on_scalar(step, chunk, value);
    }
  }

  struct Scalar {
    std::size_t from;
    std::size_t to;
    Step step;
    std::uint32_t chunk;
    double value;
  };
  ShardJobOptions options_;
  params::Layout layout_;
  params::ChunkMap chunks_;
  params::ShardMap shards_;
  std::unique_ptr<Gate> gate_;
  Descent* descent_ = nullptr;
  std::unique_ptr<optimization::Optimizer> optimizer_;
  optimization::Schedule schedule_{1.0, 0};
  std::unique_ptr<compression::Compressor> push_;
  std::unique_ptr<compression::Compressor> pull_;
  std::vector<Scalar> scalars_;
  std::size_t last_lane_ = 0;
  struct Kept {
    AlignedBuffer<std::byte> bytes;
  };
  std::deque<Kept> snapshots_;  // by lane
  std::vector<std::unique_ptr<LaneOutput>> lanes_;
};

}  // namespace sheaf::server
