#include "server/server.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <thread>

#include "common/base/error.h"
#include "common/cluster/shared_links.h"
#include "server/checkpoint/checkpointer.h"
#include "server/lane.h"
#include "server/scalar_links.h"

namespace sheaf::server {

Server::Server(ServerOptions options, cluster::Shutdown& shutdown)
    : options_(std::move(options)), shutdown_(shutdown) {
  const bool scalars =
      options_.clip_norm != 0 || options_.skip_non_finite || options_.gate->backup() != 0;
  for (std::uint32_t i = 0; i < options_.lanes; ++i) {
    Lane::Options lane;
    lane.id = i;
    lane.workers = options_.workers;
    lane.servers = options_.servers;
    lane.credentials = options_.credentials;
    lane.handshake_limit = options_.handshake_limit;
    lane.silence_limit = options_.dead_limit;
    lane.share_scalar = [this, i](Step step, std::uint32_t chunk, double value) {
      spread(i, step, chunk, value);
    };
    lane.skipped = options_.skipped;
    if (options_.released) {
      lane.released = [this, i](Step step, std::uint32_t chunks, const wire::Digest& digest) {
        options_.released(step, i, chunks, digest);
      };
    }
    if (scalars) lane.scalar_limit = options_.dead_limit;
    if (scalars && i == 0) {
      lane.on_server = [this](net::Connection connection, ProcessId peer) {
        links_->accept(std::move(connection), peer);
      };
    }
    lane.warn = options_.warn;
    lanes_.push_back(std::make_unique<Lane>(std::move(lane), shutdown));
  }
  if (scalars) {
    links_ = std::make_unique<ScalarLinks>(
        ScalarLinks::Options{.credentials = options_.credentials,
                             .limit = options_.dead_limit,
                             .patience = options_.dead_limit,
                             .deliver =
                                 [this](Step step, std::uint32_t chunk, double value) {
                                   for (const auto& lane : lanes_) {
                                     lane->add_scalar(step, chunk, value);
                                   }
                                 },
                             .on_connected =
                                 [this] {
                                   for (const auto& lane : lanes_) lane->share_scalars();
                                 },
                             .warn = options_.warn},
        lanes_[0]->context(), shutdown);
  }
}

Server::~Server() = default;

std::vector<net::Endpoint> Server::bind(const std::string& address, net::PortRange ports) {
  std::vector<net::Endpoint> endpoints;
  for (const auto& lane : lanes_) endpoints.push_back(lane->bind(address, ports));
  return endpoints;
}

std::array<std::span<float>, 2> Server::share_parameters(cluster::KeeperClient& keeper,
                                                         bool adopt) {
  const std::size_t size = layout_.size();
  const std::size_t stride = cluster::shared_vector_floats(size);
  const std::size_t bytes = 2 * stride * sizeof(float);
  const std::string name = cluster::parameters_name();
  using Access = net::SharedMemory::Access;
  try {
    parameters_ = adopt ? net::SharedMemory::map(keeper.get(name), bytes, Access::write)
                        : keeper.memory(name, bytes, Access::write);
  } catch (const Error& error) {
    options_.warn(fmt::format("no shared memory: {}; workers use the network", error.message()));
    return {};
  }
  const std::span<float> both = parameters_.floats();
  return {both.first(size), both.subspan(stride, size)};
}

void Server::open(params::Layout layout, const std::vector<wire::ProcessInfo>& servers,
                  cluster::KeeperClient* keeper, Duration spin, Recovery recovery) {
  adopting_ = recovery.adopt ? 1 : 0;
  on_adopted_ = recovery.on_adopted;
  layout_ = std::move(layout);
  chunks_ = std::make_unique<params::ChunkMap>(layout_, options_.chunk_bytes);
  shards_ = std::make_unique<params::ShardMap>(*chunks_, options_.servers, options_.lanes);
  push_ = compression::by_chunk(std::move(options_.push), layout_, *chunks_);
  pull_ = compression::by_chunk(std::move(options_.pull), layout_, *chunks_);
  // A lossy pull is what a worker decodes, not what lies here.
  std::array<std::span<float>, 2> shared{};
  bool shares = keeper != nullptr && pull_->identity();
  std::size_t incoming = 0;
  if (shares && options_.gate->exact() && !options_.gate->overtakes()) {
    shared = share_parameters(*keeper, recovery.adopt);
    shares = !shared[0].empty();
  } else {
    incoming = 2 * cluster::shared_vector_floats(layout_.size()) * sizeof(float);
  }
  for (std::uint32_t i = 0; i < options_.lanes; ++i) {
    ShardParts parts{.layout = layout_,
                     .chunks = *chunks_,
                     .shards = *shards_,
                     .lane = {options_.id, i},
                     .partitions = options_.partitions,
                     .connections = options_.workers,
                     .gate = *options_.gate,
                     .optimizer = *options_.optimizer,
                     .schedule = *options_.schedule,
                     .push = *push_,
                     .pull = *pull_,
                     .mechanism = options_.mechanism.get(),
                     .pull_feedback = options_.pull_feedback,
                     .clip_norm = options_.clip_norm,
                     .skip_non_finite = options_.skip_non_finite,
                     .seed = options_.seed,
                     .shared = shared};
    parts.replicated = !recovery.backups.empty();
    parts.restores_rest = recovery.restores_rest;
    bool adopt = recovery.adopt;  // from the backup
    if (recovery.keeper != nullptr) {
      const auto left = adopt ? adopt_snapshot(parts, recovery) : std::nullopt;
      adopt = adopt && !left;
      parts.snapshot = left ? *left : begin_snapshot(parts, *recovery.keeper);
    }
    lanes_[i]->open(parts);
    if (parts.replicated) replicate(i, servers, recovery, adopt);
    if (!shares) continue;
    try {
      lanes_[i]->share(*keeper, shards_->lane_count(), incoming, spin);
    } catch (const Error& error) {
      options_.warn(fmt::format("lane {} shares no memory: {}", i, error.message()));
    }
  }
  if (!links_) return;
  if (recovery.keeper != nullptr || !recovery.backups.empty()) {  // servers come back
    const Duration patience = options_.dead_limit + options_.return_limit;
    links_->set_patience(patience);
    for (const auto& lane : lanes_) lane->set_scalar_limit(patience);
  }
  links_->open(servers);
}

// A server with no chunks of a lane has nothing to keep elsewhere.
void Server::replicate(std::uint32_t lane, const std::vector<wire::ProcessInfo>& servers,
                       const Recovery& recovery, bool adopt) {
  const std::uint32_t clocks = options_.gate->synchronous() ? 0 : options_.partitions;
  for (std::uint32_t primary = 0; primary < options_.servers; ++primary) {
    const std::vector<std::uint32_t>& ids = shards_->chunks_of({primary, lane});
    if (recovery.backups[primary] != options_.id || ids.empty()) continue;
    const Replica::Parts parts{.layout = layout_,
                               .chunks = *chunks_,
                               .ids = ids,
                               .optimizer = *options_.optimizer,
                               .clocks = clocks,
                               .local = options_.gate->local_steps() != 0,
                               .pull = options_.pull_feedback ? pull_.get() : nullptr,
                               .seed = options_.seed};
    replica_bytes_ += Replica::memory_bound(parts);
    lanes_[lane]->keep_replica(servers.at(primary), parts, !recovery.adopt);
  }
  if (shards_->chunks_of({options_.id, lane}).empty()) return;
  if (adopt) ++adopting_;
  lanes_[lane]->back_up(
      {.backup = servers.at(recovery.backups[options_.id]),
       .credentials = {},
       .patience = options_.dead_limit + options_.return_limit,
       .adopt = adopt,
       .on_adopted = [this] { on_lane_adopted(); },
       .shape = {options_.optimizer->state_per_parameter(), clocks, options_.pull_feedback},
       .warn = {}});
}

// What its predecessor has shared the other servers may not know, nor its own lanes.
void Server::on_lane_adopted() {
  if (--adopting_ != 0) return;
  for (const auto& lane : lanes_) lane->share_scalars();
  if (on_adopted_) on_adopted_();
}

void Server::moved(const wire::ProcessInfo& server) {
  for (const auto& lane : lanes_) lane->moved(server);
  if (!links_) return;
  net::asio::post(lanes_[0]->context(), [this, server] { links_->move_to(server); });
}

// Nothing if it is gone, and a backup has the same.
std::optional<Snapshot> Server::adopt_snapshot(const ShardParts& parts, const Recovery& recovery) {
  const bool only = recovery.backups.empty();
  if (!only && !recovery.same_host) return std::nullopt;
  const Snapshot::Shape shape = Shard::snapshot_shape(parts);
  const std::string name = cluster::snapshot_name(parts.lane.server, parts.lane.lane);
  try {
    snapshots_.push_back(net::SharedMemory::map(recovery.keeper->get(name), Snapshot::bytes(shape),
                                                net::SharedMemory::Access::write));
    return Snapshot::adopt(snapshots_.back().bytes(), shape);
  } catch (const Error& error) {
    if (only) throw;
    options_.warn(fmt::format("lane {}: no snapshot is left: {}; it goes on with its replica",
                              parts.lane.lane, error.message()));
    return std::nullopt;
  }
}

Snapshot Server::begin_snapshot(const ShardParts& parts, cluster::KeeperClient& keeper) {
  const Snapshot::Shape shape = Shard::snapshot_shape(parts);
  const std::string name = cluster::snapshot_name(parts.lane.server, parts.lane.lane);
  try {
    snapshots_.push_back(
        keeper.memory(name, Snapshot::bytes(shape), net::SharedMemory::Access::write));
    return Snapshot::begin(snapshots_.back().bytes(), shape);
  } catch (const Error& error) {
    options_.warn(fmt::format(
        "lane {} keeps no snapshot: {}; if this server is lost, the job {}", parts.lane.lane,
        error.message(),
        parts.replicated ? "goes on with its replica" : "starts again from a checkpoint"));
    return {};
  }
}

void Server::checkpoint_into(const CheckpointOptions& options) {
  constexpr std::size_t kBuffersPerLane = 4;
  std::vector<std::uint32_t> ids;
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    const auto& chunks = shards_->chunks_of({options_.id, i});
    ids.insert(ids.end(), chunks.begin(), chunks.end());
  }
  if (ids.empty()) return;  // more servers than chunks: it has nothing to save
  std::ranges::sort(ids);
  const auto per_parameter = static_cast<std::uint32_t>(options_.optimizer->state_per_parameter() +
                                                        (options_.pull_feedback ? 1 : 0));
  checkpointer_ = std::make_unique<Checkpointer>(
      options.disk,
      Checkpointer::Options{.part = {.folder = options.folder,
                                     .file = {.layout = layout_,
                                              .chunks = *chunks_,
                                              .ids = ids,
                                              .state_per_parameter = per_parameter,
                                              .view = options_.pull_feedback,
                                              .job = options.job,
                                              .step = 0,
                                              .server = options_.id,
                                              .host = options.host},
                                     .on_done = options.on_done},
                            .buffers = std::min(ids.size(), kBuffersPerLane * lanes_.size()),
                            .on_room = [this] {
                              for (const auto& lane : lanes_) lane->on_room();
                            }});
  for (const auto& lane : lanes_) lane->save_to(*checkpointer_);
}

void Server::trace_into(const std::filesystem::path& folder, std::uint32_t incarnation,
                        Step first) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);  // trace_to() says what is wrong
  const TraceHead head{.partitions = options_.partitions,
                       .first = first,
                       .synchronous = options_.gate->synchronous(),
                       .overtakes = options_.gate->overtakes(),
                       .backup = options_.gate->backup(),
                       .staleness = options_.gate->staleness()};
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    if (shards_->chunks_of({options_.id, i}).empty()) continue;
    lanes_[i]->trace_to(folder / fmt::format("server-{}-lane-{}-step-{}-{}.trace", options_.id, i,
                                             first, incarnation),
                        head);
  }
}

void Server::restore(checkpoint::Disk& disk, const std::filesystem::path& folder,
                     checkpoint::Manifest manifest) {
  restored_ = std::move(manifest);
  readers_.reserve(lanes_.size());
  for (const auto& lane : lanes_) {
    auto& reader = readers_.emplace_back(disk, folder, restored_);
    lane->restore(restored_.step, [&reader](const params::Chunk& chunk, std::span<float> parameters,
                                            std::span<float> state) {
      reader.read(chunk.offset, parameters, state);
    });
  }
}

void Server::checkpoint_at(Version version, bool end, std::function<void(bool in_time)> answer) {
  struct Answers {
    std::atomic<std::size_t> missing;
    std::atomic<bool> in_time{true};
  };
  const auto answers = std::make_shared<Answers>();
  answers->missing = lanes_.size();
  for (const auto& lane : lanes_) {
    lane->checkpoint_at(version, end, [answers, answer](bool in_time) {
      if (!in_time) answers->in_time = false;
      if (--answers->missing == 0) answer(answers->in_time);
    });
  }
}

void Server::clock(PartitionRange partitions, std::function<void(Step)> answer) {
  struct Answers {
    std::atomic<std::size_t> missing;
    std::mutex mutex;
    Step least = std::numeric_limits<Step>::max();  // guarded
  };
  const auto answers = std::make_shared<Answers>();
  answers->missing = lanes_.size();
  for (const auto& lane : lanes_) {
    lane->clock(partitions, [answers, answer](Step clock) {
      {
        const std::lock_guard lock(answers->mutex);
        answers->least = std::min(answers->least, clock);
      }
      if (--answers->missing == 0) answer(answers->least);
    });
  }
}

void Server::fence(std::uint32_t worker, std::uint32_t incarnation) {
  for (const auto& lane : lanes_) lane->fence(worker, incarnation);
}

void Server::abandon_checkpoint(Version version) {
  if (checkpointer_) checkpointer_->abandon(version);
}

void Server::name_base(Version version, Version base) {
  if (checkpointer_) checkpointer_->name_base(version, base);
}

std::size_t Server::memory_bound() const {
  std::size_t bytes = checkpoint_memory() + replica_bytes_;
  for (const auto& lane : lanes_) bytes += lane->shard().memory_bound();
  return bytes;
}

std::size_t Server::checkpoint_memory() const {
  return checkpointer_ ? checkpointer_->memory() : 0;
}

ServerReport Server::run() {
  if (adopting_ != 0) on_lane_adopted();
  // Closing the links belongs to the thread of the first lane, before its context runs dry.
  const cluster::Shutdown::Subscription on_end(shutdown_, [this] {
    if (links_) net::asio::post(lanes_[0]->context(), [this] { links_->close(); });
  });
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < lanes_.size(); ++i) {
      threads.emplace_back([this, i] { lanes_[i]->run(); });
    }
    lanes_[0]->run();
  }
  shutdown_.throw_if_failed();
  ServerReport report;
  for (const auto& lane : lanes_) {
    lane->end_trace(shards_->busy_lanes());
    report.duplicates += lane->shard().duplicates();
    report.dropped += lane->shard().dropped();
    for (const Duration pause : lane->checkpoint_pauses()) {
      report.lane_pauses.push_back(seconds(pause));
    }
    report.memory_bytes += lane->shard().memory_used();
  }
  report.memory_bytes += replica_bytes_;
  return report;
}

Step Server::step() const {
  Step step = 0;
  for (const auto& lane : lanes_) step = std::max(step, lane->shard().step());
  return step;
}

wire::Waiting Server::waiting_for(Duration limit) {
  wire::Waiting waiting;
  for (const auto& lane : lanes_) {
    waiting = lane->waiting_for(limit);
    if (!waiting.text.empty()) break;
  }
  waiting.survives = survives();
  return waiting;
}

// One without chunks acknowledges nothing that could be lost.
wire::Survives Server::survives() const {
  auto least = wire::Survives::replica;
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    if (shards_->chunks_of({options_.id, i}).empty()) continue;
    least = std::min(least, lanes_[i]->shard().survives());
  }
  return least;
}

// A lane's scalar goes to its sisters in this process and to every other server.
void Server::spread(std::uint32_t from_lane, Step step, std::uint32_t chunk, double value) {
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    if (i != from_lane) lanes_[i]->add_scalar(step, chunk, value);
  }
  links_->share(step, chunk, value);
}

}  // namespace sheaf::server
