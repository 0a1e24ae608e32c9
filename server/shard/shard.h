// The parameters of one lane and everything that happens to them: frames in, replies out, no
// sockets, no threads, no time. What arrives is judged in shard_arrivals.cpp; what it makes of the
// parameters stands in shard.cpp.
//
//   push → is it new? → [Admission] → Aggregator (tree sum) → gate → [step scalars] → [noise] →
//   optimizer → publish → parked pulls answered
//
// With a synchronous gate version t is what the steps before t have made of the chunk; with others
// each push of one partition makes a version, and a chunk is at step t when it has the steps before
// t of all partitions.
//
// Two versions of a chunk are held, so that an open step can always be recomputed from the
// parameters it started with. A version that goes over the wire is a Buffer that is never written
// again: replies in flight keep it alive, the next version goes to a fresh one. Where workers map
// our memory, version t lies in the flat vector of its parity; t + 2 overwrites it only when every
// partition has pushed for t + 1, so nobody reads t any more. Then the wire gets a copy, if anybody
// asks by wire.
//
// With a snapshot each version is committed there before anybody learns of it, and what a worker
// is told to have arrived is in a committed version: a push, end or init is acknowledged only then.
// Whoever takes the place of this process goes on with the newest versions; what was under way is
// sent again. The same with a backup, which has each step when it says so: then a version may be
// read before the backup has it, as the bits of bsp come again, but nothing is acknowledged.
// Belongs to one lane; not thread-safe. Bad frames throw Fault::network; the caller names the
// sender.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/buffer_pool.h"
#include "common/compression/compressor.h"
#include "common/optimization/optimizer.h"
#include "common/optimization/schedule.h"
#include "common/params/chunk_map.h"
#include "common/params/layout.h"
#include "common/params/shard_map.h"
#include "common/privacy/mechanism.h"
#include "common/wire/messages.h"
#include "common/wire/out_frame.h"
#include "server/chunk/partition_clocks.h"
#include "server/consistency/gate.h"
#include "server/consistency/trace.h"
#include "server/replica/chunk_copy.h"
#include "server/replica/replication.h"
#include "server/shard/admission.h"
#include "server/shard/aggregator.h"
#include "server/shard/loans.h"
#include "server/shard/snapshot.h"
#include "server/shard/step_scalars.h"

namespace sheaf::server {

// What a shard borrows; everything outlives it.
struct ShardParts {
  const params::Layout& layout;
  const params::ChunkMap& chunks;
  const params::ShardMap& shards;
  params::LaneId lane;
  std::uint32_t partitions = 1;
  std::uint32_t connections = 1;  // most sessions that may receive at once
  const Gate& gate;
  const optimization::Optimizer& optimizer;
  const optimization::Schedule& schedule;
  const compression::Compressor& push;
  const compression::Compressor& pull;
  // Perturbs the sum of each step and chunk before it is used; null: nobody does so here.
  const privacy::Mechanism* mechanism = nullptr;
  // EF21-P: what is encoded is the difference between a version and what workers have. Steps are
  // exact then, and nothing is shared.
  bool pull_feedback = false;
  double clip_norm = 0;          // of the mean gradient over all parameters; 0 = no clipping
  bool skip_non_finite = false;  // a step whose gradient is not finite changes nothing
  std::uint64_t seed = 0;        // of the run, for compressors that draw
  // Flat vectors that workers of this host map, by the parity of the version; empty: none do, as
  // always where the gate is not exact, or overtakes: then each worker is answered in memory of its
  // own.
  std::array<std::span<float>, 2> shared{};
  // Of the shape that Shard::snapshot_shape() gives; with versions in it, the shard begins there.
  Snapshot snapshot = {};
  // What the one before this one had not read of the job's checkpoint when it ended is restored
  // behind what it has left.
  bool restores_rest = false;
  bool replicated = false;  // another server keeps a replica
};

// Where a shard's answers go.
class ShardOutput {
 public:
  virtual ~ShardOutput() = default;
  virtual void reply(SessionId session, wire::OutFrame frame) = 0;
  // What a session wants with its replies: nothing, as it reads parameters where they lie; the
  // floats of the version, which it copies within reply(); or what goes over the wire.
  enum class Payload : std::uint8_t { none, floats, encoded };
  virtual Payload payload_for(SessionId) const { return Payload::encoded; }
  // This lane's scalar of one chunk, for every other lane of every server. Behind a gate that goes
  // on without some, numbers from that of chunks on are words of its Admission; the one behind
  // those is the sum of all chunks.
  virtual void share_scalar(Step step, std::uint32_t chunk, double value) = 0;
  // There may be something for the backup: see next_for_backup().
  virtual void backup_waits() {}
  // The backup has something: see knows_clocks().
  virtual void backup_answered() {}
  // A step was left out, since its gradient is not finite: said once in the job, by who holds the
  // first chunk.
  virtual void skipped(Step) {}
  // Noise was added to a chunk's sum of that step; the digest is that of the mechanism. What comes
  // of it is published next.
  virtual void released(Step /*step*/, const wire::Digest& /*digest*/) {}
  // A push was added, a step without examples covered, a pull answered, or a chunk begins at what
  // another process has left.
  virtual void note(const TraceEvent&) {}
  // Room for what a checkpoint keeps of a chunk, as many floats as were asked for. Empty: there is
  // none now, and the chunk stays at its version until on_room().
  virtual std::span<float> checkpoint_room(std::size_t) { return {}; }
  // That room, filled: the parameters of `version`, then the runs of the optimizer's state.
  virtual void checkpoint(Version /*version*/, std::uint32_t /*chunk*/, std::span<float> /*room*/) {
  }
};

class Shard {
 public:
  // Throws Fault::checkpoint if parts.snapshot lacks a chunk that others of the lane have.
  Shard(const ShardParts& parts, ShardOutput& output);

  // Of the snapshot that a shard of these parts keeps.
  static Snapshot::Shape snapshot_shape(const ShardParts& parts);

  // The most payload bytes that a frame with this header may carry; throws when the header itself
  // makes no sense here. Call before receiving the payload.
  std::size_t payload_limit(const wire::Header& header) const;
  // Memory for one payload.
  Buffer take_buffer() { return pool_.take(); }
  const params::ChunkMap& chunks() const { return parts_.chunks; }

  // The payload of a push that stays in the sender's memory until it is acknowledged.
  Buffer borrow(SessionId session, const wire::Header& header, std::span<const std::byte> values) {
    return loans_.take(session, header, values);
  }

  // Whether such payloads of a session are still to be read.
  bool reads_from(SessionId session) const { return loans_.holds(session); }

  // One frame of a worker, checksummed; `payload` holds header.payload_bytes bytes.
  void on_frame(SessionId session, const wire::Header& header, Buffer payload);
  void on_scalar(Step step, std::uint32_t chunk, double value);
  // Another process has taken the place of one that shared its scalars, or ours: says again what
  // it may not know.
  void share_scalars();
  void on_closed(SessionId session);

  // From now on each chunk is handed to checkpoint() when it is at that step, before it goes on:
  // where pushes are steps of their own, pulls at that clock wait until then. False if a chunk may
  // have passed it already; then none is. `end`: no partition takes that step.
  bool checkpoint_at(Step step, bool end = false);
  // There may be room for what waits for it.
  void on_room();
  // Makes the n-th chunk of the lane what a checkpoint of that step kept of it, unless it has a
  // version already; false if there is none. `read` fills in parameters and runs of state. Until
  // then pulls of it wait.
  using ReadChunk = std::function<void(const params::Chunk& chunk, std::span<float> parameters,
                                       std::span<float> state)>;
  bool restore(Step step, std::size_t n, const ReadChunk& read);

  // ---- with a backup, in shard_replication.cpp
  // There is a new connection to it; it is lost.
  void on_backup();
  void on_backup_lost() { replication_->on_lost(); }
  std::optional<wire::OutFrame> next_for_backup() { return replication_->next_frame(); }
  void on_written_to_backup() { replication_->on_written(); }
  void on_replicated(const wire::Header& header);
  // Makes a chunk what the backup has kept of it; it has all that it had: from now on it is told
  // each step, over the same connection. Before anybody is served. Throws Fault::checkpoint if
  // chunks lack.
  void adopt(std::uint32_t chunk, const ChunkCopy& copy);
  void on_adopted();
  // Of the chunk of a frame, which is one of this lane.
  std::size_t elements(const wire::Header& header) const;

  // Notes where each chunk that is there begins, which another process has left.
  void note_begun() const;

  // Who is waited for: "step 12 of chunk 3 waits for partitions 4, 5"; empty if nothing is open.
  wire::Waiting waiting_for() const;
  // A step that is aggregated here but lacks another server's scalar; nothing if none does.
  struct ScalarWait {
    Step step;
    std::uint32_t server;
    std::uint32_t chunk;
  };
  std::optional<ScalarWait> scalar_wait() const;
  // The newest step that every chunk of the lane is at.
  Step step() const;
  // How many steps of a partition every chunk of the lane has: where its next host begins. With a
  // snapshot or a backup those that are committed. The largest number there is without chunks.
  Step clock(std::uint32_t partition) const;
  // Whether clock() is not behind what was ever acknowledged: who goes on with a snapshot learns
  // from its backup whether the newest steps in that were.
  bool knows_clocks() const;
  // What everything that it acknowledges does.
  wire::Survives survives() const {
    if (replication_) return wire::Survives::replica;
    return parts_.snapshot ? wire::Survives::snapshot : wire::Survives::ram;
  }
  // Pushes that were there already.
  std::uint64_t duplicates() const { return duplicates_; }
  // Of partitions that steps went without; counted by who holds the first chunk.
  std::uint64_t dropped() const { return dropped_; }
  // What this lane may allocate, and what it has, in bytes.
  std::size_t memory_bound() const;
  std::size_t memory_used() const;

 private:
  struct Published {
    std::span<float> values;  // empty before init
    Buffer hold;              // keeps them, unless they lie in a shared vector
    Buffer encoded;           // for the wire, made when first asked for
    std::span<float> view;    // with feedback of pulls: what workers have of it
    Buffer view_hold;         // keeps that, or what goes over the wire of it
    std::uint32_t bytes = 0;  // of encoded
    std::uint32_t crc = 0;
  };
  struct ParkedPull {
    SessionId session;
    Step clock;
    PartitionRange partitions;
    Version next;  // whose difference to the one before will do; 0: none
  };
  // A push whose partition is not known to be in the step.
  struct Held {
    std::uint32_t partition;
    std::uint64_t examples;
    Buffer values;
  };
  // A push or an end that is here, but in no committed version yet.
  struct Owed {
    SessionId session;
    wire::Header header;
    wire::FrameType answer;
    wire::PushStatus status = wire::PushStatus::added;
  };
  struct ChunkState {
    std::uint32_t id;
    const params::Chunk* chunk;
    Version newest = 0;
    std::array<Published, 2> published;    // by the parity of the version
    AlignedBuffer<float> optimizer_state;  // block by block, as apply() goes; or in the snapshot
    Aggregator aggregator;
    PartitionClocks clocks;
    std::vector<ParkedPull> parked;
    Step checkpointed = 0;           // 1 + the last step that a checkpoint has; 0 = none
    Step pulled = 0;                 // 1 + the largest clock of a pull that was answered; 0 = none
    std::vector<Version> read = {};  // the newest that each partition has; not if synchronous
    std::uint32_t skipped = 0;       // steps in a row, up to the last one
    bool backup_unheard = false;     // about what a snapshot had of it
    std::vector<Held> held = {};
    std::vector<Owed> owed = {};  // acknowledgements of the open step
    bool initialised() const { return !published[newest % 2].values.empty(); }
  };

  ChunkState& state_of(const wire::Header& header);
  void on_push(SessionId session, const wire::Header& header, Buffer payload);
  void on_pull(SessionId session, const wire::Header& header);
  void on_end(SessionId session, const wire::Header& header);
  void on_init(SessionId session, const wire::Header& header, Buffer payload);

  // A new push to the open step.
  void contribute(ChunkState& state, const wire::Header& header, Buffer payload);
  void add(ChunkState& state, const wire::Header& header, Buffer payload);
  void decode_add(const wire::Header& header, const Buffer& payload, std::span<float> sum) const;
  // All of a node's contribution to a step is here.
  void covered(ChunkState& state, PartitionRange node, Step step);
  // The same of a partition that is not known to be in the step; no values: it has no examples.
  void hold(ChunkState& state, std::uint32_t partition, Step step, std::uint64_t examples,
            Buffer values);
  // In shard_admission.cpp: all chunks of this lane have the push; a word of another lane; and what
  // is in goes into the sums.
  void say_here(Step step, std::uint32_t partition);
  void on_admission(Step step, std::uint32_t word, double value);
  void decide(Step step, std::uint32_t partition, std::uint32_t lane);
  void add_admitted(ChunkState& state);
  // Whether it has come too late for its step.
  bool is_late(ChunkState& state, PartitionRange partitions, Step step);
  // All that belongs to the open step is summed.
  bool complete(const ChunkState& state) const;
  Step step_of(const ChunkState& state) const;
  // Whether these partitions may say something about this step: every step before it is here.
  bool follows(const ChunkState& state, PartitionRange partitions, Step step) const;
  // `partition` is whose push came last.
  void advance(ChunkState& state, std::uint32_t partition = 0);
  // Whether a step needs a figure of the whole gradient.
  bool needs_scalars() const { return parts_.clip_norm != 0 || parts_.skip_non_finite; }
  // In shard_scalars.cpp: what the step that made a version was taken with (kNoScalar: nothing that
  // is known), and
  std::uint32_t total_word() const;
  double scalar_of(Version version) const;
  void know_scalar(Version version, double scalar);
  // What a gradient is multiplied by, of which all squares have this sum; nothing = not at all.
  std::optional<double> clip_scale(double squares, std::uint64_t examples) const;
  // Without a scale the step is left out.
  void apply(ChunkState& state, std::uint32_t partition, std::optional<double> scale);
  // Nothing came of a step; what is rejected has been said.
  void note_skipped(ChunkState& state, bool say);
  // The sum with the mechanism's noise, once; empty: there is none to add.
  std::span<const float> noised_sum(const ChunkState& state);
  double rate(const ChunkState& state, std::uint32_t partition) const;
  bool owes_checkpoint(const ChunkState& state) const;
  bool waits_for_checkpoint(const ChunkState& state, Step clock) const;
  // Hands the chunk to the checkpoint that wants its version; false = there is no room.
  bool checkpoint(ChunkState& state);
  // Room for the values of a version; what is there is about to be overwritten.
  std::span<float> room(ChunkState& state, Version version);
  // Where the values of a version lie, if not in a buffer of the pool.
  std::span<float> place_of(const ChunkState& state, Version version) const;
  std::size_t index_of(const ChunkState& state) const {
    return static_cast<std::size_t>(&state - states_.data());
  }
  std::span<float> optimizer_state(ChunkState& state, Version version);
  // The newest version is whole.
  void commit(const ChunkState& state);
  void adopt();
  void begin_at_snapshot(ChunkState& state);
  void go_on(ChunkState& state, Version newest);
  void check_complete(const char* what) const;
  void note_begun(const ChunkState& state) const;
  // Whether what a push, end or init brings about is where this job promises it to be.
  bool committed(const ChunkState& state, const wire::Header& request) const {
    if (replication_) return replication_->has(index_of(state), request);
    return !parts_.snapshot || !synchronous_ || request.type == wire::FrameType::init ||
           state.newest > request.step;
  }
  void begin_replication();
  void fill(ChunkState& state, ChunkCopy& copy);
  bool lies_in_shared(const ChunkState& state, const ChunkCopy& copy) const;
  void replicate_whole(const ChunkState& state);
  // Acknowledges it, or owes it until it is committed.
  void settle(ChunkState& state, SessionId session, const wire::Header& header,
              wire::FrameType answer, wire::PushStatus status = wire::PushStatus::added);
  void acknowledge_owed(ChunkState& state);
  void acknowledge_end(SessionId session, const wire::Header& header);
  void encode(const ChunkState& state, Version version, Published& slot);
  // In shard_view.cpp: room for what workers have of a version; that of the newest one, and the way
  // there; what a pull of it gets; and what a checkpoint keeps beside parameters and state.
  std::span<float> view_room(ChunkState& state, Version version);
  void follow(ChunkState& state);
  void answer_from_view(const ChunkState& state, const ParkedPull& pull, Published& slot,
                        wire::OutFrame& frame);
  std::size_t view_runs() const { return parts_.pull_feedback ? 1 : 0; }
  // Answers a pull if the gate lets it; false = it has to wait.
  bool answer(ChunkState& state, const ParkedPull& pull);
  void answer_parked(ChunkState& state);
  std::size_t clock_bytes() const;
  void acknowledge(SessionId session, const wire::Header& header, wire::FrameType type,
                   wire::PushStatus status = wire::PushStatus::added);
  void acknowledge_returned();
  void acknowledge_partial(SessionId session, const wire::Header& header, const ChunkState& state);

  ShardParts parts_;
  ShardOutput& output_;
  params::PartitionTree tree_;
  Loans loans_;  // these two before the states, which hold their buffers
  BufferPool pool_;
  AlignedBuffer<float> scratch_;  // one block of a sum
  AlignedBuffer<float> noised_;   // a sum with noise; of a chunk, if noise is added here
  bool synchronous_;              // the gate is
  bool drops_;                    // steps go without some
  bool local_;                    // pushes are ways of local steps
  bool streams_;                  // versions are written past the caches
  std::vector<ChunkState> states_;
  std::vector<std::int32_t> place_;  // chunk id → index into states_, -1 = another lane's
  StepScalars scalars_;
  Admission admission_;
  std::uint64_t dropped_ = 0;
  std::vector<Step> checkpoints_;  // wanted
  std::vector<Owed> ends_;         // that some chunk has not committed
  std::optional<Replication> replication_;
  std::uint64_t duplicates_ = 0;
};

}  // namespace sheaf::server
