// The inside of the simulation: lanes and workers around real Shards and Exchanges, and the virtual
// clock and network between them. Everything happens in one thread.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "server/consistency/trace.h"
#include "tests/cluster/simulation.h"

namespace sheaf::simulation {

using Microseconds = std::uint64_t;
inline constexpr Microseconds kTick = 400;            // how often workers look for lost frames
inline constexpr Microseconds kPatience = 900;        // before a frame is sent again
inline constexpr Microseconds kStandstill = 1000000;  // without any worker beginning a step

inline TimePoint at(Microseconds time) { return TimePoint(std::chrono::microseconds(time)); }

// ---- the virtual cluster ------------------------------------------------------------------------

class Cluster;

// A frame as bytes on their way.
using Bytes = std::vector<std::byte>;
Bytes to_bytes(wire::OutFrame& frame);
// The receiving half of a FrameChannel. Returns the payload.
std::span<const std::byte> open_frame(const Bytes& bytes, wire::Header& header);

// One connection of a worker to a lane. Frames of a connection that has been replaced get lost.
struct Line {
  server::SessionId session = 0;
};

class LaneServer final : public server::ShardOutput {
 public:
  LaneServer(Cluster& cluster, std::size_t index);
  void note(const server::TraceEvent& event) override;
  void reply(server::SessionId session, wire::OutFrame frame) override;
  void share_scalar(Step step, std::uint32_t chunk, double value) override;
  void receive(server::SessionId session, const Bytes& bytes);
  // Puts what it holds where the vector has it.
  void read(std::span<float> vector);

  std::unique_ptr<server::Shard> shard;
  server::TraceChecker checker;

 private:
  Cluster& cluster_;
  std::size_t index_;
  std::span<float> reading_;  // answers go here, while read() runs
};

// What a worker process does, without threads: TrainingStep and PushPull in miniature over real
// Exchanges.
class Worker {
 public:
  Worker(Cluster& cluster, std::uint32_t id, std::set<std::uint32_t> hosted);

  void begin(Step step);  // pulls version `step` of everything first
  void take_over(const std::set<std::uint32_t>& partitions);
  void give_away(std::uint32_t partition) { hosted_.erase(partition); }
  void receive(std::size_t lane, server::SessionId session, const Bytes& bytes);
  void reconnect(std::size_t lane);
  void tick();
  void die();

  std::uint32_t id() const { return id_; }
  bool alive() const { return alive_; }
  bool finished() const { return finished_; }
  bool training() const { return alive_ && computed_; }
  Step step() const { return step_; }
  const std::set<std::uint32_t>& hosted() const { return hosted_; }
  std::span<const float> parameters(Version version) const { return parameters_[version % 2]; }
  std::string status() const;

 private:
  struct Lane final : worker::ExchangeEvents {
    Lane(Worker& w, const worker::Exchange::Options& options)
        : owner(w), exchange(options, *this) {}
    void on_arrived(std::uint32_t chunk, Step clock, Version version, std::size_t) override {
      owner.on_arrived(chunk, clock, version);
    }
    void on_settled(const wire::Header&) override { --owner.unsettled_; }
    void on_partial(const wire::Header& request, std::span<const std::uint32_t> missing) override {
      owner.on_partial(request, missing);
    }
    Worker& owner;
    Line line;
    worker::Exchange exchange;
  };
  void on_arrived(std::uint32_t chunk, Step clock, Version version);
  void on_partial(const wire::Header& request, std::span<const std::uint32_t> missing);
  Lane& lane_of(std::uint32_t chunk);
  PartitionRange whom() const;
  bool slow() const;
  void pull(Version version);
  void push_for(const std::set<std::uint32_t>& partitions);
  void push_node(Step step, std::uint32_t chunk, PartitionRange node);
  void end_node(Step step, PartitionRange node);
  void progress();
  void send();

  Cluster& cluster_;
  std::uint32_t id_;
  std::set<std::uint32_t> hosted_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<float> parameters_[2];
  std::vector<Step> arrived_;  // 1 + clock, by chunk
  Version version_ = 0;        // of the first chunk
  std::vector<std::unique_ptr<Bytes>> payloads_;
  std::size_t unsettled_ = 0;
  Step step_ = 0;
  bool computed_ = false;  // this step's gradients have been pushed
  Microseconds slow_until_ = 0;
  bool alive_ = true;
  bool finished_ = false;
};

class Cluster {
 public:
  explicit Cluster(const Options& o)
      : options(o),
        all(layout()),
        chunks(all, kChunkBytes),
        shards(chunks, o.servers, o.lanes),
        tree(o.partitions),
        gate(server::make_gate(o.gate, o.gate_keys)),
        push(o.lossy_push ? std::make_unique<server::UpperHalves>() : server::no_compressor()),
        pull(server::no_compressor()),
        random(o.seed, Purpose::test) {}

  Outcome run();
  void schedule(Microseconds delay, std::function<void()> action) {
    events_.push({now + delay, order_++, std::move(action)});
  }
  // Delivers `action` after a random delay, perhaps twice, perhaps (if it may get lost) never.
  void transmit(bool may_be_lost, const std::function<void()>& action) {
    if (may_be_lost && random.uniform() < options.loss) return;
    const int copies = random.uniform() < options.repetition ? 2 : 1;
    for (int i = 0; i < copies; ++i) schedule(1 + random.next() % options.delay, action);
  }
  server::SessionId new_session(Worker& worker, std::size_t lane);
  void on_added(const server::TraceEvent& event) {
    for (std::uint32_t p = event.partitions.first; p < event.partitions.end(); ++p) {
      added[event.chunk].emplace(event.step, p);
    }
  }
  void on_begun(Step step) {
    newest_step = std::max(newest_step, step);
    progressed = now;
  }

  const Options options;
  const params::Layout all;
  const params::ChunkMap chunks;
  const params::ShardMap shards;
  const params::PartitionTree tree;
  std::unique_ptr<server::Gate> gate;
  const server::Descent optimizer;
  const optimization::Schedule rate{kRate, 0};
  std::unique_ptr<compression::Compressor> push;
  std::unique_ptr<compression::Compressor> pull;
  Stream random;
  Microseconds now = 0;
  Microseconds progressed = 0;
  Step newest_step = 0;
  Outcome outcome;
  std::map<std::uint32_t, std::set<std::pair<Step, std::uint32_t>>> added;  // by chunk

  std::vector<std::unique_ptr<LaneServer>> lanes;
  std::vector<std::unique_ptr<Worker>> workers;
  struct Session {
    Worker* worker;
    std::size_t lane;
    bool closed = false;
  };
  std::vector<Session> sessions;

 private:
  struct Event {
    Microseconds time;
    std::uint64_t order;
    std::function<void()> action;
    bool operator<(const Event& other) const {  // the earliest on top
      return std::pair(time, order) > std::pair(other.time, other.order);
    }
  };
  void build();
  void tick();
  void fault();
  Step clock_of(const std::set<std::uint32_t>& partitions) const;
  bool over() const;
  void note_versions();
  [[noreturn]] void standstill() const;

  std::priority_queue<Event> events_;
  std::uint64_t order_ = 0;
  std::uint32_t faults_left_ = 0;
};

}  // namespace sheaf::simulation
