#include "tests/simulation/cluster.h"

#include "common/wire/checksum.h"
#include "tests/simulation/channel.h"
#include "tests/simulation/coordinator.h"
#include "tests/simulation/server_process.h"
#include "tests/simulation/worker.h"

namespace sheaf::simulation {

using wire::Header;

namespace {

// Answers one step further ahead than was promised.
class LooseGate final : public server::Gate {
 public:
  explicit LooseGate(const server::Gate& gate) : gate_(gate) {}
  bool synchronous() const override { return gate_.synchronous(); }
  std::uint32_t backup() const override { return gate_.backup(); }
  std::optional<Step> staleness() const override { return gate_.staleness(); }
  bool may_apply(const server::Arrivals& arrivals) const override {
    return gate_.may_apply(arrivals);
  }
  server::PullAnswer answer(Step clock, const server::Readable& readable) const override {
    server::Readable wrong = readable;
    ++wrong.slowest;
    return gate_.answer(clock, wrong);
  }

 private:
  const server::Gate& gate_;
};

std::unique_ptr<server::Gate> gate_of(const Options& o, const server::Gate& promised) {
  if (o.mutant == Mutant::loose_bound) return std::make_unique<LooseGate>(promised);
  return server::make_gate(o.mutant == Mutant::mute_gate ? "bsp" : o.gate, o.gate_keys);
}

std::unique_ptr<compression::Compressor> push_of(const Options& o) {
  if (o.lossy_push) return std::make_unique<server::UpperHalves>();
  if (!o.feedback) return server::no_compressor();
  const auto document = config::Document::from_text("ratio = 0.2", "job.toml");
  return find_mode(compression::compressors(), "topk")->make(document->root());
}

}  // namespace

// ---- frames -------------------------------------------------------------------------------------

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

// ---- the virtual cluster ------------------------------------------------------------------------

Cluster::Cluster(const Options& o)
    : options(o),
      all(layout()),
      chunks(all, kChunkBytes),
      shards(chunks, o.servers, o.lanes),
      tree(o.partitions),
      promised(server::make_gate(o.gate, o.gate_keys)),
      gate(gate_of(o, *promised)),
      push(push_of(o)),
      pull(server::no_compressor()),
      random(o.seed, Purpose::test) {
  snapshots.resize(shards.lane_count());
  disk.syncs_files = o.mutant != Mutant::unsynced_files;
  disk.syncs_folders = o.mutant != Mutant::unsynced_folders;
}

Cluster::~Cluster() = default;

std::span<std::byte> Cluster::allocate(std::size_t bytes) {
  return memory.emplace_back(bytes).span();
}

void Cluster::note(std::uint64_t what) {
  std::uint64_t& hash = outcome.course;
  hash = (hash ^ what) * 0x9E3779B97F4A7C15U;
  hash ^= hash >> 29;
}

void Cluster::in(Process& process, std::function<void()> body) {
  if (!process.alive) return;
  if (process.stopped(now())) {
    return events.schedule(process.stopped_until - now(),
                           [this, &process, body = std::move(body)] { in(process, body); });
  }
  try {
    body();
  } catch (const Error&) {
    if (process.alive) throw;
  }
}

void Cluster::later(Milliseconds delay, Process& process, std::function<void()> body) {
  events.schedule(delay, [this, &process, body = std::move(body)] { in(process, body); });
}

void Cluster::control(Process& process, std::function<void()> body) {
  process.inbox.push_back(std::move(body));
  later(random_delay(), process, [&process] {
    const auto next = std::move(process.inbox.front());
    process.inbox.pop_front();
    next();
  });
}

void Cluster::report(Process& from, std::function<void(Coordinator&)> body) {
  if (coordinators.empty() || from.cut_off || from.attempt != attempt) return;
  Coordinator& coordinator = *coordinators.back();
  control(coordinator, [&coordinator, &from, body = std::move(body)] {
    if (coordinator.knows(from)) body(coordinator);
  });
}

void Cluster::transmit(Process& to, bool may_be_lost, const std::function<void()>& action) {
  note(now() * 31 + to.id.id);
  if (may_be_lost && random.uniform() < options.loss) return;
  const int copies = random.uniform() < options.repetition ? 2 : 1;
  for (int i = 0; i < copies; ++i) later(random_delay(), to, action);
}

void Cluster::begin_attempt() {
  coordinators.push_back(std::make_unique<Coordinator>(*this, newest_incarnation));
  for (std::uint32_t s = 0; s < options.servers; ++s) start_server(s, newest_incarnation);
  for (std::uint32_t w = 0; w < options.workers; ++w) start_worker(w, newest_incarnation);
}

void Cluster::build() {
  if (options.coordinated) {
    disk.make_folder(kCheckpoints);
    disk.sync_folder("/run");
    begin_attempt();
    return;
  }
  for (std::uint32_t s = 0; s < options.servers; ++s) start_server(s, 0);
  for (std::uint32_t w = 0; w < options.workers; ++w) start_worker(w, 0);
  for (const auto& worker : workers) worker->begin(0);
}

void Cluster::tick() {
  for (std::size_t i = 0; i < workers.size(); ++i) {  // more may come
    in(*workers[i], [worker = workers[i].get()] { worker->tick(); });
  }
  // About one fault in two steps, at a random moment of the step.
  if (faults_left_ > 0 && chance(3) == 0) {
    --faults_left_;
    events.schedule(chance(2 * kTick), [this] { fault(); });
  }
  if (losses_left_ > 0 && chance(5) == 0) {
    --losses_left_;
    events.schedule(chance(2 * kTick), [this] { loss(); });
  }
  if (options.coordinated) {
    const auto beat = [this](Process& process) {
      if (!process.alive || process.stopped(now())) return;
      report(process,
             [id = process.id, n = process.incarnation](Coordinator& c) { c.on_heard(id, n); });
    };
    if (now() / kBeat != (now() - kTick) / kBeat) {
      for (const auto& worker : workers) beat(*worker);
      for (const auto& server : servers) beat(*server);
    }
    Coordinator& coordinator = *coordinators.back();
    in(coordinator, [&coordinator] { coordinator.tick(); });
  }
  if (!over()) events.schedule(kTick, [this] { tick(); });
}

bool Cluster::over() const {
  if (options.coordinated) return complete_;
  return std::ranges::all_of(workers, [](const auto& w) { return !w->alive || w->finished(); });
}

void Cluster::note_versions() {
  if (outcome.chunks_apart || options.coordinated) return;
  Version low = newest_step + 2;
  Version high = 0;
  for (const auto& server : servers) {
    for (const auto& lane : server->lanes) {
      low = std::min(low, lane->shard->step());
      high = std::max(high, lane->shard->step());
    }
  }
  outcome.chunks_apart = low != high;
}

void Cluster::standstill() const {
  std::string text;
  for (const auto& worker : workers) {
    if (worker->alive) text += worker->status() + "\n";
  }
  for (const auto& server : servers) {
    for (const auto& lane : server->lanes) {
      if (!server->alive || !lane->shard) continue;
      text += fmt::format("{}#{}{}{}: {}\n", to_string(server->id), server->incarnation,
                          server->stopped(now()) ? ", stopped" : "",
                          lane->serves() ? "" : ", not serving", lane->shard->waiting_for().text);
    }
  }
  if (!coordinators.empty()) text += coordinators.back()->status();
  fail(Fault::internal, "seed {}: standstill since {} ms\n{}", options.seed, progressed, text);
}

Outcome Cluster::run() {
  build();
  faults_left_ = options.faults;
  losses_left_ = options.losses;
  events.schedule(kTick, [this] { tick(); });
  while (!over()) {
    check(events.run_next(), "something is always under way");
    note_versions();
    if (now() > progressed + kStandstill) standstill();
  }
  gather();
  return outcome;
}

}  // namespace sheaf::simulation
