#include "tests/cluster/simulation.h"

#include "common/wire/checksum.h"
#include "tests/cluster/simulated_cluster.h"

namespace sheaf::simulation {

using server::SessionId;
using wire::FrameType;
using wire::Header;

// ---- frames

Bytes to_bytes(wire::OutFrame& frame) {
  if (!frame.crc_known) frame.header.payload_crc = wire::crc32c(frame.payload);
  const wire::HeaderBytes head = wire::encode(frame.header);
  Bytes bytes(head.size() + frame.payload.size());
  const auto after_head = std::ranges::copy(head, bytes.begin()).out;
  std::ranges::copy(frame.payload, after_head);
  return bytes;
}

std::span<const std::byte> open_frame(const Bytes& bytes, Header& header) {
  const auto fault = wire::decode(std::span(bytes).first<wire::kHeaderBytes>(), header);
  check(fault == wire::HeaderFault::none, "a frame arrives as it was sent");
  const auto payload = std::span(bytes).subspan(wire::kHeaderBytes);
  check(payload.size() == header.payload_bytes && wire::crc32c(payload) == header.payload_crc,
        "a payload arrives as it was sent");
  return payload;
}

// ---- servers

LaneServer::LaneServer(Cluster& cluster, std::size_t index)
    : checker({.partitions = cluster.options.partitions,
               .synchronous = cluster.gate->synchronous(),
               .backup = cluster.gate->backup(),
               .staleness = cluster.gate->staleness()}),
      cluster_(cluster),
      index_(index) {}

void LaneServer::note(const server::TraceEvent& event) {
  const std::string problem = checker.add(event);
  check(problem.empty(), problem.c_str());
  if (event.kind == server::TraceEvent::Kind::push) cluster_.on_added(event);
}

void LaneServer::reply(SessionId session, wire::OutFrame frame) {
  if (frame.header.type == FrameType::push_ack &&
      frame.header.status == static_cast<std::uint8_t>(wire::PushStatus::partial)) {
    ++cluster_.outcome.partial;
  }
  if (!reading_.empty() && frame.header.type == FrameType::pull_reply) {
    const params::Chunk& chunk = cluster_.chunks[frame.header.chunk];
    std::ranges::copy(frame.payload,
                      std::as_writable_bytes(reading_.subspan(chunk.offset, chunk.size)).begin());
    return;
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

void LaneServer::read(std::span<float> vector) {
  reading_ = vector;
  for (std::uint32_t c = 0; c < cluster_.chunks.size(); ++c) {
    if (cluster_.shards.index(cluster_.shards.at(c)) != index_) continue;
    Header pull;
    pull.type = FrameType::pull;
    pull.chunk = c;
    pull.step = cluster_.options.steps;
    shard->on_frame(0, pull, {});
  }
  reading_ = {};
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
  const std::uint64_t kind = random.next() % 4;
  switch (gate->exact() ? kind : kind / 2 * 3) {
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
    default: {  // death, and a replacement that begins where its partitions are
      const auto hosted = one.hosted();
      const Step step = clock_of(hosted);
      one.die();
      workers.push_back(std::make_unique<Worker>(*this, one.id(), hosted));
      workers.back()->begin(step);
    }
  }
  ++outcome.moves;
}

// The first step of which a chunk lacks one of these partitions.
Step Cluster::clock_of(const std::set<std::uint32_t>& partitions) const {
  Step clock = options.steps;
  for (const auto& lane : lanes) {
    for (const std::uint32_t p : partitions) clock = std::min(clock, lane->shard->clock(p));
  }
  return clock;
}

bool Cluster::over() const {
  return std::ranges::all_of(workers, [](const auto& w) { return !w->alive() || w->finished(); });
}

void Cluster::note_versions() {
  if (outcome.chunks_apart) return;
  Version low = newest_step + 2;
  Version high = 0;
  for (const auto& lane : lanes) {
    low = std::min(low, lane->shard->step());
    high = std::max(high, lane->shard->step());
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
  if (!gate->synchronous()) {  // what a worker has lacks what came after its last pull
    std::vector<float>& whole = outcome.parameters.emplace_back(all.size());
    for (const auto& lane : lanes) lane->read(whole);
  }
  for (const auto& worker : workers) {
    if (!worker->alive() || !gate->synchronous()) continue;
    const auto final_parameters = worker->parameters(options.steps);
    outcome.parameters.emplace_back(final_parameters.begin(), final_parameters.end());
  }
  for (Step step = 0; step < options.steps; ++step) {
    for (std::uint32_t p = 0; p < options.partitions; ++p) {
      const std::pair which(step, p);
      const bool in = added[0].contains(which);
      for (const auto& [chunk, pushes] : added) {
        check(pushes.contains(which) == in, "a step has the same partitions in every chunk");
      }
      if (!in) outcome.dropped.insert(which);
    }
  }
  for (const auto& lane : lanes) {
    outcome.dropped_pushes += lane->shard->dropped();
    outcome.duplicates += lane->shard->duplicates();
    outcome.most_ahead = std::max(outcome.most_ahead, lane->checker.most_ahead());
  }
  return outcome;
}

Outcome run(const Options& options) { return Cluster(options).run(); }

}  // namespace sheaf::simulation
