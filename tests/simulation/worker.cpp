#include "tests/simulation/worker.h"

#include "tests/simulation/coordinator.h"
#include "tests/simulation/lane_server.h"
#include "tests/simulation/server_process.h"

namespace sheaf::simulation {

using wire::FrameType;
using wire::Header;

Worker::Worker(Cluster& cluster, std::uint32_t worker, std::uint32_t number,
               std::set<std::uint32_t> hosted)
    : cluster_(cluster),
      hosted_(std::move(hosted)),
      parameters_{std::vector<float>(cluster.all.size()), std::vector<float>(cluster.all.size())},
      arrived_(cluster.chunks.size()),
      versions_(cluster.chunks.size()),
      superseded_(cluster.chunks.size()) {
  id = {Role::worker, worker};
  incarnation = number;
  attempt = cluster.attempt;
  if (cluster.options.coordinated) {
    on_killed = [this] { cluster_.on_killed(*this); };
  }
  // Connections that lose nothing but themselves are what real jobs have: nothing is sent again
  // over one of them.
  const bool sure = cluster.options.coordinated && cluster.options.loss == 0;
  const auto resend_after = std::chrono::milliseconds(sure ? 0 : kPatience);
  for (std::size_t i = 0; i < cluster.shards.lane_count(); ++i) {
    lanes_.push_back(std::make_unique<Lane>(
        *this, worker::Exchange::Options{.partitions = cluster.options.partitions,
                                         .window = cluster.window(),
                                         .largest_reply = cluster.chunks.largest() * sizeof(float),
                                         .resend_after = resend_after}));
    if (!cluster.options.coordinated)
      lanes_.back()->session = cluster.new_session(*this, i, cluster.lane(i));
  }
}

Worker::Lane& Worker::lane_of(std::uint32_t chunk) {
  return *lanes_[cluster_.shards.index(cluster_.shards.at(chunk))];
}

bool Worker::slow() const {
  return cluster_.options.slow != 0 && id.id + 1 == cluster_.options.workers;
}

// For whom it pulls. In bsp that is only a name; with other gates partitions do not move, and
// those of a worker are in a row.
PartitionRange Worker::whom() const {
  if (cluster_.gate->exact()) return {id.id, 1};
  return {*hosted_.begin(), static_cast<std::uint32_t>(hosted_.size())};
}

void Worker::pull(Version version) {
  for (auto c = static_cast<std::uint32_t>(cluster_.chunks.size()); c-- > 0;) {
    const params::Chunk& chunk = cluster_.chunks[c];
    const auto into = std::span(parameters_[version % 2]).subspan(chunk.offset, chunk.size);
    superseded_[c] = false;
    lane_of(c).exchange.pull(version, c, whom(), std::as_writable_bytes(into));
  }
}

// On one host a successor goes on with the memory of its predecessor, which was killed before. On
// another one it begins with nothing, and its books with the step after its first: of that one
// servers may have what its predecessor has pushed.
void Worker::open_residuals(Step step) {
  if (!cluster_.options.feedback) return;
  feedback_.emplace(*cluster_.push, cluster_.chunks.largest());
  for (const std::uint32_t p : hosted_) {
    const worker::ResidualSlots::Shape shape{
        cluster_.chunks, cluster_.push->max_bytes(cluster_.chunks.largest()), p};
    KeptResiduals& kept = cluster_.residuals[{attempt, p}];
    const bool forgets = cluster_.options.mutant == Mutant::forgotten_residuals;
    const bool adopts = successor && cluster_.options.one_host && !kept.memory.empty() && !forgets;
    if (!adopts) {
      const Step since = successor ? step + 1 : step;
      kept = {cluster_.allocate(worker::ResidualSlots::bytes(shape)),
              successor && forgets ? kept.since : since};
    }
    worker::ResidualSlots slots(kept.memory, shape);
    check(slots.owner().has_value() == adopts, "residuals are somebody's");
    if (adopts) {
      slots.adopt(incarnation);
    } else if (successor && cluster_.options.mutant != Mutant::doubled_residuals) {
      slots.begin_without(incarnation, step);
    } else {
      slots.begin(incarnation, step, nullptr);
    }
    kept_.try_emplace(p, Kept{slots, kept.since});
  }
}

void Worker::begin(Step step) {
  began_ = step_ = step;
  open_residuals(step);
  for (std::size_t lane = 0; cluster_.options.coordinated && lane < lanes_.size(); ++lane) {
    connect(lane);
  }
  computed_ = false;
  if (step == 0 && hosted_.contains(0)) {
    payloads_.push_back(std::make_unique<Bytes>());
    const auto values = first_parameters(cluster_.options);
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

void Worker::on_arrived(std::uint32_t chunk, Step clock, Version version) {
  check(clock == step_ || (computed_ && clock == step_ + 1),
        "one version per layer and step: the one that was asked for");
  arrived_[chunk] = clock + 1;
  versions_[chunk] = version;
}

// As worker/worker.cpp has it: with drop one decision closes a step for all chunks, with speculate
// each one takes it by itself, and nobody passes a step that some chunk may lack.
Step Worker::first_open_step() const {
  if (cluster_.gate->backup() != 0) return versions_[0];
  const Version most = std::ranges::max(versions_);
  if (most > step_ + 1) return most - 1;
  bool over = true;
  for (std::size_t c = 0; c < versions_.size(); ++c) {
    over = over && (versions_[c] > step_ || superseded_[c]);
  }
  return over ? step_ + 1 : step_;
}

// When every layer has its version: compute, push, ask for the next. When that is there and all is
// acknowledged, the next step begins.
void Worker::progress() {
  const auto all_arrived = [&](Version version) {
    return std::ranges::all_of(arrived_, [&](Version a) { return a == version + 1; });
  };
  while (alive && !finished_) {
    if (!computed_) {
      if (!all_arrived(step_) || unsettled_ != 0) return;
      const Step now = cluster_.promised->overtakes() ? first_open_step() : step_;
      if (now != step_) {  // it was left behind
        cluster_.outcome.passed += now - step_;
        step_ = now;
        cluster_.on_begun(step_);
        return pull(step_);
      }
      if (step_ == cluster_.options.steps) {
        return finish();
      }
      if (slow() && cluster_.now() < slow_until_) return;
      payloads_.clear();
      computed_ = true;
      cluster_.on_begun(step_);
      push_for(hosted_);
      pull(step_ + 1);
      offers_at_ = cluster_.now() + kTick + cluster_.options.delay;
      return;
    }
    if (unsettled_ != 0 || !all_arrived(step_ + 1)) return;
    ++step_;
    computed_ = false;
    if (slow()) {
      slow_until_ = cluster_.now() + cluster_.options.slow * cluster_.options.delay;
    }
  }
}

// What keeps it waiting may be another worker.
void Worker::offer() {
  const bool waits = training() && !finished_ && cluster_.now() >= offers_at_;
  if (!waits || !cluster_.promised->stand_in_after()) return;
  offers_at_ = cluster_.now() + kTick + cluster_.options.delay;
  cluster_.report(*this,
                  [worker = id.id, step = step_](Coordinator& c) { c.on_offer(worker, step); });
}

void Worker::stand_in(const wire::PartitionClock& help) {
  if (!training() || finished_ || help.step != step_) return;
  ++cluster_.outcome.stood_in;
  std::set<std::uint32_t> partitions;
  for (std::uint32_t i = 0; i < help.count; ++i) partitions.insert(help.first + i);
  push_for(partitions);
  send();
}

void Worker::finish() {
  finished_ = true;
  cluster_.on_begun(step_);
  cluster_.report(*this, [worker = id](Coordinator& c) { c.on_finished(worker); });
}

// The largest nodes inside a set of partitions, or each by itself.
void Worker::push_for(const std::set<std::uint32_t>& partitions) {
  std::vector<PartitionRange> nodes;
  for (auto p = partitions.begin(); p != partitions.end();) {
    PartitionRange run{*p, 0};
    while (p != partitions.end() && *p == run.end()) ++run.count, ++p;
    for (const PartitionRange node : cluster_.tree.cover(run)) {
      if (!cluster_.options.lossy_push && !cluster_.options.feedback && cluster_.gate->exact()) {
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
  const compression::EncodingKey key{0, step, node.first, chunk};
  if (!options.feedback) {
    bytes.resize(cluster_.push->encode(*sum, key, bytes));
  } else {
    worker::ResidualSlots& residuals = kept_.at(node.first).slots;
    if (const auto pushed = residuals.pushed(chunk, step)) {  // by whom it follows
      bytes.assign(pushed->begin(), pushed->end());
    } else {
      bytes.resize(feedback_->encode(residuals.before(chunk, step), *sum, key, bytes,
                                     residuals.open(chunk, step)));
      residuals.commit(chunk, step, bytes);
    }
  }
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

void Worker::receive(std::size_t lane, server::SessionId session, const Bytes& bytes) {
  if (lanes_[lane]->session != session) return;
  Header header;
  const auto payload = open_frame(bytes, header);
  std::ranges::copy(payload, lanes_[lane]->exchange.receive_into(header).begin());
  lanes_[lane]->exchange.on_frame(header);
  progress();
  send();
}

void Worker::send() {
  if (!alive) return;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    if (!lanes_[i]->session) continue;
    const server::SessionId session = *lanes_[i]->session;
    while (auto frame = lanes_[i]->exchange.next(at(cluster_.now()))) {
      LaneServer* server = cluster_.sessions[session].server;
      cluster_.transmit(server->process(), true, [server, session, bytes = to_bytes(*frame)] {
        server->receive(session, bytes);
      });
    }
  }
}

void Worker::tick() {
  if (slow()) progress();
  offer();
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    lanes_[i]->exchange.on_tick(at(cluster_.now()));
    const Milliseconds patience = kPatience + 2 * cluster_.options.delay;
    if (began_ && !lanes_[i]->session && cluster_.now() > lanes_[i]->asked + patience) connect(i);
  }
  send();
}

void Worker::die() {
  alive = false;
  hosted_.clear();
}

// ---- connections --------------------------------------------------------------------------------

void Worker::reconnect(std::size_t lane) {
  lanes_[lane]->session = cluster_.new_session(*this, lane, cluster_.lane(lane));
  lanes_[lane]->exchange.on_reconnected();
  send();
}

void Worker::connect(std::size_t lane) {
  lanes_[lane]->asked = cluster_.now();
  cluster_.connect(*this, lane, ++lanes_[lane]->knocks);
}

void Worker::disconnect(std::size_t lane) {
  if (!std::exchange(lanes_[lane]->session, std::nullopt)) return;
  connect(lane);
}

// Whoever was there before is stopped, perhaps, or only cut off from the coordinator.
void Worker::moved(const ServerProcess& server) {
  moved_[server.id.id] = server.incarnation;
  for (std::size_t i = 0; began_ && i < lanes_.size(); ++i) {
    const auto session = lanes_[i]->session;
    if (!session) continue;
    const ServerProcess& there = cluster_.sessions[*session].server->process();
    if (there.id == server.id && there.incarnation < server.incarnation) disconnect(i);
  }
}

// A try that was given up for the next one has closed its socket.
void Worker::on_connected(std::size_t lane, server::SessionId session, std::uint64_t knock) {
  Lane& l = *lanes_[lane];
  if (knock != l.knocks) return cluster_.close(session);
  if (cluster_.sessions[session].closed) return;  // meanwhile
  const ServerProcess& there = cluster_.sessions[session].server->process();
  if (there.incarnation < moved_[there.id.id]) return;  // it has woken up too late
  l.session = session;
  if (cluster_.options.mutant != Mutant::deaf_reconnect) l.exchange.on_reconnected();
  send();
}

void Worker::on_closed(std::size_t lane, server::SessionId session) {
  if (lanes_[lane]->session == session) disconnect(lane);
}

std::string Worker::status() const {
  std::string text =
      fmt::format("worker {} at step {} with {} unsettled", id.id, step_, unsettled_);
  for (const auto& lane : lanes_) {
    if (const auto oldest = lane->exchange.oldest()) {
      text += fmt::format("; oldest {} of step {} chunk {} partitions {}+{}",
                          to_string(oldest->type), oldest->step, oldest->chunk,
                          oldest->partitions.first, oldest->partitions.count);
    }
  }
  return text;
}

}  // namespace sheaf::simulation
