#include "common/math/kernels.h"
#include "tests/cluster/simulated_cluster.h"

namespace sheaf::simulation {

using wire::FrameType;
using wire::Header;

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

bool Worker::slow() const {
  return cluster_.options.slow != 0 && id_ + 1 == cluster_.options.workers;
}

// For whom it pulls. In bsp that is only a name; with other gates partitions do not move, and
// those of a worker are in a row.
PartitionRange Worker::whom() const {
  if (cluster_.gate->exact()) return {id_, 1};
  return {*hosted_.begin(), static_cast<std::uint32_t>(hosted_.size())};
}

void Worker::pull(Version version) {
  for (auto c = static_cast<std::uint32_t>(cluster_.chunks.size()); c-- > 0;) {
    const params::Chunk& chunk = cluster_.chunks[c];
    const auto into = std::span(parameters_[version % 2]).subspan(chunk.offset, chunk.size);
    lane_of(c).exchange.pull(version, c, whom(), std::as_writable_bytes(into));
  }
}

void Worker::begin(Step step) {
  step_ = step;
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
  if (chunk == 0) version_ = version;
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
      if (cluster_.gate->backup() != 0 && version_ != step_) {  // it was left behind
        step_ = version_;
        cluster_.on_begun(step_);
        return pull(step_);
      }
      if (step_ == cluster_.options.steps) {
        finished_ = true;
        cluster_.on_begun(step_);
        return;
      }
      if (slow() && cluster_.now < slow_until_) return;
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
    if (slow()) {
      slow_until_ = cluster_.now + cluster_.options.slow * cluster_.options.delay;
    }
  }
}

// The largest nodes inside a set of partitions, or each by itself.
void Worker::push_for(const std::set<std::uint32_t>& partitions) {
  std::vector<PartitionRange> nodes;
  for (auto p = partitions.begin(); p != partitions.end();) {
    PartitionRange run{*p, 0};
    while (p != partitions.end() && *p == run.end()) ++run.count, ++p;
    for (const PartitionRange node : cluster_.tree.cover(run)) {
      if (!cluster_.options.lossy_push && cluster_.gate->exact()) {
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

void Worker::receive(std::size_t lane, server::SessionId session, const Bytes& bytes) {
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
  if (slow()) progress();
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

}  // namespace sheaf::simulation
