#include "tests/cluster/simulation.h"

#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "common/math/kernels.h"
#include "common/wire/checksum.h"

namespace sheaf::simulation {

using server::SessionId;
using wire::FrameType;
using wire::Header;

namespace {

using Microseconds = std::uint64_t;
constexpr Microseconds kTick = 400;            // how often workers look for lost frames
constexpr Microseconds kPatience = 900;        // before a frame is sent again
constexpr Microseconds kStandstill = 1000000;  // without any worker beginning a step

TimePoint at(Microseconds time) { return TimePoint(std::chrono::microseconds(time)); }

// ---- the virtual cluster ------------------------------------------------------------------------

class Cluster;

// A frame as bytes on their way.
using Bytes = std::vector<std::byte>;

// One connection of a worker to a lane. Frames of a connection that has been replaced get lost.
struct Line {
  SessionId session = 0;
};

class LaneServer final : public server::ShardOutput {
 public:
  LaneServer(Cluster& cluster, std::size_t index) : cluster_(cluster), index_(index) {}
  void reply(SessionId session, wire::OutFrame frame) override;
  void share_scalar(Step step, std::uint32_t chunk, double value) override;
  void receive(SessionId session, const Bytes& bytes);

  std::unique_ptr<server::Shard> shard;

 private:
  Cluster& cluster_;
  std::size_t index_;
};

// What a worker process does, without threads: TrainingStep and PushPull in miniature over real
// Exchanges.
class Worker {
 public:
  Worker(Cluster& cluster, std::uint32_t id, std::set<std::uint32_t> hosted);

  void begin(Step step);  // pulls version `step` of everything first
  void take_over(const std::set<std::uint32_t>& partitions);
  void give_away(std::uint32_t partition) { hosted_.erase(partition); }
  void receive(std::size_t lane, SessionId session, const Bytes& bytes);
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
    void on_arrived(std::uint32_t chunk, Version version, std::size_t) override {
      owner.on_arrived(chunk, version);
    }
    void on_settled(const Header&) override { --owner.unsettled_; }
    void on_partial(const Header& request, std::span<const std::uint32_t> missing) override {
      owner.on_partial(request, missing);
    }
    Worker& owner;
    Line line;
    worker::Exchange exchange;
  };
  void on_arrived(std::uint32_t chunk, Version version);
  void on_partial(const Header& request, std::span<const std::uint32_t> missing);
  Lane& lane_of(std::uint32_t chunk);
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
  std::vector<Version> arrived_;  // 1 + version, by chunk
  std::vector<std::unique_ptr<Bytes>> payloads_;
  std::size_t unsettled_ = 0;
  Step step_ = 0;
  bool computed_ = false;  // this step's gradients have been pushed
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
  SessionId new_session(Worker& worker, std::size_t lane);
  void on_begun(Step step) {
    newest_step = std::max(newest_step, step);
    progressed = now;
  }

  const Options options;
  const params::Layout all;
  const params::ChunkMap chunks;
  const params::ShardMap shards;
  const params::PartitionTree tree;
  std::unique_ptr<server::Gate> gate = server::bsp_gate();
  const server::Descent optimizer;
  const server::Schedule rate{kRate, 0};
  std::unique_ptr<compression::Compressor> push;
  std::unique_ptr<compression::Compressor> pull;
  Stream random;
  Microseconds now = 0;
  Microseconds progressed = 0;
  Step newest_step = 0;
  Outcome outcome;

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
  bool over() const;
  void note_versions();
  [[noreturn]] void standstill() const;

  std::priority_queue<Event> events_;
  std::uint64_t order_ = 0;
  std::uint32_t faults_left_ = 0;
};

Bytes to_bytes(wire::OutFrame& frame) {
  if (!frame.crc_known) frame.header.payload_crc = wire::crc32c(frame.payload);
  const wire::HeaderBytes head = wire::encode(frame.header);
  Bytes bytes(head.size() + frame.payload.size());
  const auto after_head = std::ranges::copy(head, bytes.begin()).out;
  std::ranges::copy(frame.payload, after_head);
  return bytes;
}

// The receiving half of a FrameChannel. Returns the payload.
std::span<const std::byte> open_frame(const Bytes& bytes, Header& header) {
  const auto fault = wire::decode(std::span(bytes).first<wire::kHeaderBytes>(), header);
  check(fault == wire::HeaderFault::none, "a frame arrives as it was sent");
  const auto payload = std::span(bytes).subspan(wire::kHeaderBytes);
  check(payload.size() == header.payload_bytes && wire::crc32c(payload) == header.payload_crc,
        "a payload arrives as it was sent");
  return payload;
}

// ---- servers

void LaneServer::reply(SessionId session, wire::OutFrame frame) {
  if (frame.header.type == FrameType::push_ack &&
      frame.header.status == static_cast<std::uint8_t>(wire::PushStatus::partial)) {
    ++cluster_.outcome.partial;
  }
  const auto [worker, lane, closed] = cluster_.sessions[session];
  cluster_.transmit(true, [worker = worker, lane = lane, session, bytes = to_bytes(frame)] {
    worker->receive(lane, session, bytes);
  });
}

void LaneServer::share_scalar(Step step, std::uint32_t chunk, double value) {
  for (std::size_t to = 0; to < cluster_.lanes.size(); ++to) {
    if (to == index_) continue;
    cluster_.transmit(false, [lane = cluster_.lanes[to].get(), step, chunk, value] {
      lane->shard->on_scalar(step, chunk, value);
    });
  }
}

void LaneServer::receive(SessionId session, const Bytes& bytes) {
  Header header;
  const auto payload = open_frame(bytes, header);
  // Nobody waits for the answer any more. Pushes may come late all the same, which is harder.
  if (cluster_.sessions[session].closed && header.type == FrameType::pull) return;
  check(payload.size() <= shard->payload_limit(header), "a payload within its limit");
  Buffer buffer;
  if (!payload.empty()) {
    buffer = shard->take_buffer();
    std::ranges::copy(payload, buffer.bytes().begin());
  }
  shard->on_frame(session, header, std::move(buffer));
  check(shard->memory_used() <= shard->memory_bound(), "the memory bound");
}

// ---- workers

Worker::Worker(Cluster& cluster, std::uint32_t id, std::set<std::uint32_t> hosted)
    : cluster_(cluster),
      id_(id),
      hosted_(std::move(hosted)),
      parameters_{std::vector<float>(cluster.all.size()), std::vector<float>(cluster.all.size())},
      arrived_(cluster.chunks.size()) {
  for (std::size_t i = 0; i < cluster.lanes.size(); ++i) {
    lanes_.push_back(std::make_unique<Lane>(
        *this, worker::Exchange::Options{.partitions = cluster.options.partitions,
                                         .window = cluster.options.window,
                                         .largest_reply = cluster.chunks.largest() * sizeof(float),
                                         .resend_after = std::chrono::microseconds(kPatience)}));
    lanes_.back()->line.session = cluster.new_session(*this, i);
  }
}

Worker::Lane& Worker::lane_of(std::uint32_t chunk) {
  return *lanes_[cluster_.shards.index(cluster_.shards.at(chunk))];
}

void Worker::pull(Version version) {
  for (auto c = static_cast<std::uint32_t>(cluster_.chunks.size()); c-- > 0;) {
    const params::Chunk& chunk = cluster_.chunks[c];
    const auto into = std::span(parameters_[version % 2]).subspan(chunk.offset, chunk.size);
    lane_of(c).exchange.pull(version, c, {id_, 1}, std::as_writable_bytes(into));
  }
}

void Worker::begin(Step step) {
  step_ = step;
  computed_ = false;
  if (step == 0 && hosted_.contains(0)) {
    payloads_.push_back(std::make_unique<Bytes>());
    const auto values = first_parameters();
    const auto bytes = std::as_bytes(std::span(values));
    payloads_.back()->assign(bytes.begin(), bytes.end());
    for (std::uint32_t c = 0; c < cluster_.chunks.size(); ++c) {
      const params::Chunk& chunk = cluster_.chunks[c];
      ++unsettled_;
      lane_of(c).exchange.init(
          c,
          std::span<const std::byte>(*payloads_.back()).subspan(4 * chunk.offset, chunk.bytes()));
    }
  }
  pull(step);
  send();
}

void Worker::on_arrived(std::uint32_t chunk, Version version) {
  check(version == step_ || (computed_ && version == step_ + 1),
        "one version per layer and step: the one that was asked for");
  arrived_[chunk] = version + 1;
}

// When every layer has its version: compute, push, ask for the next. When that is there and all is
// acknowledged, the next step begins.
void Worker::progress() {
  const auto all_arrived = [&](Version version) {
    return std::ranges::all_of(arrived_, [&](Version a) { return a == version + 1; });
  };
  while (alive_ && !finished_) {
    if (!computed_) {
      if (!all_arrived(step_) || unsettled_ != 0) return;
      if (step_ == cluster_.options.steps) {
        finished_ = true;
        cluster_.on_begun(step_);
        return;
      }
      payloads_.clear();
      computed_ = true;
      cluster_.on_begun(step_);
      push_for(hosted_);
      pull(step_ + 1);
      return;
    }
    if (unsettled_ != 0 || !all_arrived(step_ + 1)) return;
    ++step_;
    computed_ = false;
  }
}

// The largest nodes inside a set of partitions, or each by itself.
void Worker::push_for(const std::set<std::uint32_t>& partitions) {
  std::vector<PartitionRange> nodes;
  for (auto p = partitions.begin(); p != partitions.end();) {
    PartitionRange run{*p, 0};
    while (p != partitions.end() && *p == run.end()) ++run.count, ++p;
    for (const PartitionRange node : cluster_.tree.cover(run)) {
      if (!cluster_.options.lossy_push) {
        nodes.push_back(node);
        continue;
      }
      for (std::uint32_t i = node.first; i < node.end(); ++i) nodes.push_back({i, 1});
    }
  }
  for (const PartitionRange node : nodes) {
    for (auto c = static_cast<std::uint32_t>(cluster_.chunks.size()); c-- > 0;) {
      push_node(step_, c, node);
    }
    end_node(step_, node);
  }
}

void Worker::push_node(Step step, std::uint32_t chunk, PartitionRange node) {
  const Options& options = cluster_.options;
  const params::Chunk& c = cluster_.chunks[chunk];
  const auto now = std::span<const float>(parameters_[step % 2]).subspan(c.offset, c.size);
  Options plain = options;
  plain.lossy_push = false;  // what goes into the compressor
  const Sum sum = node_sum(plain, step, node, c, now);
  if (!sum) return;
  std::uint64_t count = 0;
  for (std::uint32_t p = node.first; p < node.end(); ++p) count += examples(options, step, p);
  payloads_.push_back(std::make_unique<Bytes>(cluster_.push->max_bytes(sum->size())));
  Bytes& bytes = *payloads_.back();
  bytes.resize(cluster_.push->encode(*sum, {0, step, node.first, chunk}, bytes));
  ++unsettled_;
  lane_of(chunk).exchange.push(step, chunk, node, count, bytes);
}

void Worker::end_node(Step step, PartitionRange node) {
  std::uint64_t count = 0;
  for (std::uint32_t p = node.first; p < node.end(); ++p) {
    count += examples(cluster_.options, step, p);
  }
  for (const auto& lane : lanes_) {
    ++unsettled_;
    lane->exchange.end(step, node, count);
  }
}

void Worker::on_partial(const Header& request, std::span<const std::uint32_t> missing) {
  --unsettled_;
  for (const std::uint32_t p : missing) {
    if (examples(cluster_.options, request.step, p) == 0) {
      end_node(request.step, {p, 1});
    } else {
      push_node(request.step, request.chunk, {p, 1});
    }
  }
}

// From now on these partitions are ours too. Whatever their last host has pushed of this step, they
// are pushed again, alone or within larger nodes.
void Worker::take_over(const std::set<std::uint32_t>& partitions) {
  hosted_.insert(partitions.begin(), partitions.end());
  if (!computed_ || finished_) return;
  push_for(cluster_.random.next() % 2 == 0 ? hosted_ : partitions);
  send();
}

void Worker::receive(std::size_t lane, SessionId session, const Bytes& bytes) {
  if (!alive_ || lanes_[lane]->line.session != session) return;
  Header header;
  const auto payload = open_frame(bytes, header);
  std::ranges::copy(payload, lanes_[lane]->exchange.receive_into(header).begin());
  lanes_[lane]->exchange.on_frame(header);
  progress();
  send();
}

void Worker::send() {
  if (!alive_) return;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    while (auto frame = lanes_[i]->exchange.next(at(cluster_.now))) {
      LaneServer* server = cluster_.lanes[i].get();
      cluster_.transmit(true, [server, session = lanes_[i]->line.session,
                               bytes = to_bytes(*frame)] { server->receive(session, bytes); });
    }
  }
}

void Worker::reconnect(std::size_t lane) {
  lanes_[lane]->line.session = cluster_.new_session(*this, lane);
  lanes_[lane]->exchange.on_reconnected();
  send();
}

void Worker::tick() {
  for (const auto& lane : lanes_) lane->exchange.on_tick(at(cluster_.now));
  send();
}

// Its frames that are under way still arrive.
void Worker::die() {
  alive_ = false;
  hosted_.clear();
}

std::string Worker::status() const {
  std::string text = fmt::format("worker {} at step {} with {} unsettled", id_, step_, unsettled_);
  for (const auto& lane : lanes_) {
    if (const auto oldest = lane->exchange.oldest()) {
      text += fmt::format("; oldest {} of step {} chunk {} partitions {}+{}",
                          to_string(oldest->type), oldest->step, oldest->chunk,
                          oldest->partitions.first, oldest->partitions.count);
    }
  }
  return text;
}

// ---- the run

SessionId Cluster::new_session(Worker& worker, std::size_t lane) {
  // The newer self of a worker ends the connections of the one before.
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    Session& before = sessions[i];
    if (before.closed || before.lane != lane || before.worker->id() != worker.id()) continue;
    before.closed = true;
    lanes[lane]->shard->on_closed(static_cast<SessionId>(i));
  }
  sessions.push_back({&worker, lane});
  return static_cast<SessionId>(sessions.size() - 1);
}

void Cluster::build() {
  for (std::uint32_t s = 0; s < options.servers; ++s) {
    for (std::uint32_t l = 0; l < options.lanes; ++l) {
      lanes.push_back(std::make_unique<LaneServer>(*this, lanes.size()));
      lanes.back()->shard =
          std::make_unique<server::Shard>(server::ShardParts{.layout = all,
                                                             .chunks = chunks,
                                                             .shards = shards,
                                                             .lane = {s, l},
                                                             .partitions = options.partitions,
                                                             .connections = options.workers,
                                                             .gate = *gate,
                                                             .optimizer = optimizer,
                                                             .schedule = rate,
                                                             .push = *push,
                                                             .pull = *pull,
                                                             .clip_norm = options.clip_norm},
                                          *lanes.back());
    }
  }
  for (std::uint32_t w = 0; w < options.workers; ++w) {
    const PartitionRange share = params::hosted_partitions(options.partitions, options.workers, w);
    std::set<std::uint32_t> hosted;
    for (std::uint32_t p = share.first; p < share.end(); ++p) hosted.insert(p);
    workers.push_back(std::make_unique<Worker>(*this, w, std::move(hosted)));
  }
  for (const auto& worker : workers) worker->begin(0);
}

void Cluster::tick() {
  for (const auto& worker : workers) {
    if (worker->alive()) worker->tick();
  }
  // About one fault in two steps, at a random moment of the step.
  if (faults_left_ > 0 && random.next() % 3 == 0) {
    --faults_left_;
    schedule(random.next() % (2 * kTick), [this] { fault(); });
  }
  if (!over()) schedule(kTick, [this] { tick(); });
}

void Cluster::fault() {
  std::vector<Worker*> training;
  for (const auto& worker : workers) {
    if (worker->training() && !worker->finished()) training.push_back(worker.get());
  }
  if (training.empty()) return;
  Worker& one = *training[random.next() % training.size()];
  Worker& other = *training[random.next() % training.size()];
  switch (random.next() % 4) {
    case 0:  // a connection breaks
      one.reconnect(random.next() % lanes.size());
      break;
    case 1: {  // a living worker gives a partition away; an heir is at most one step ahead
      if (&one == &other || other.step() > one.step() + 1 || one.hosted().size() < 2) return;
      const std::uint32_t partition = *one.hosted().rbegin();
      one.give_away(partition);
      other.take_over({partition});
      break;
    }
    case 2: {  // death, and another worker inherits
      if (&one == &other || other.step() > one.step() + 1) return;
      const auto hosted = one.hosted();
      one.die();
      other.take_over(hosted);
      break;
    }
    default: {  // death, and a replacement that begins with the open step
      const auto hosted = one.hosted();
      const Step step = one.step();
      one.die();
      workers.push_back(std::make_unique<Worker>(*this, one.id(), hosted));
      workers.back()->begin(step);
    }
  }
  ++outcome.moves;
}

bool Cluster::over() const {
  return std::ranges::all_of(workers, [](const auto& w) { return !w->alive() || w->finished(); });
}

void Cluster::note_versions() {
  if (outcome.chunks_apart) return;
  Version low = newest_step + 2;
  Version high = 0;
  for (const auto& lane : lanes) {
    low = std::min(low, lane->shard->version());
    high = std::max(high, lane->shard->version());
  }
  outcome.chunks_apart = low != high;
}

void Cluster::standstill() const {
  std::string text;
  for (const auto& worker : workers) {
    if (worker->alive()) text += worker->status() + "\n";
  }
  for (const auto& lane : lanes) text += lane->shard->waiting_for().text + "\n";
  fail(Fault::internal, "seed {}: standstill since {} us\n{}", options.seed, progressed, text);
}

Outcome Cluster::run() {
  build();
  faults_left_ = options.faults;
  schedule(kTick, [this] { tick(); });
  while (!over()) {
    check(!events_.empty(), "something is always under way");
    auto action = events_.top().action;
    now = events_.top().time;
    events_.pop();
    action();
    note_versions();
    if (now > progressed + kStandstill) standstill();
  }
  for (const auto& worker : workers) {
    if (!worker->alive()) continue;
    const auto final_parameters = worker->parameters(options.steps);
    outcome.parameters.emplace_back(final_parameters.begin(), final_parameters.end());
  }
  for (const auto& lane : lanes) outcome.duplicates += lane->shard->duplicates();
  return outcome;
}

}  // namespace

Outcome run(const Options& options) { return Cluster(options).run(); }

}  // namespace sheaf::simulation
